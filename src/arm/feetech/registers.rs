//! The registers of the STS3215 that the recorder uses, and how their values stand in bytes.

/// A value in a servo's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// The name in LeRobot's table.
    pub name: &'static str,
    pub addr: u8,
    /// One or two bytes, little-endian.
    pub size: u8,
    /// Sign-magnitude values: the bit that says negative.
    pub sign_bit: Option<u8>,
}

/// The model number of an STS3215.
pub const STS3215: i32 = 777;
/// Steps of a full turn.
pub const STEPS: i32 = 4096;
/// Addresses below this one keep their value without power, once `Lock` is 0 when they are written.
pub const EEPROM_END: u8 = 40;

macro_rules! registers {
    ($($constant:ident = $name:literal $addr:literal, $size:literal $(sign $sign:literal)?;)*) => {
        $(pub const $constant: Register =
            Register { name: $name, addr: $addr, size: $size, sign_bit: registers!(@ $($sign)?) };)*
        /// All of them, by address.
        pub const ALL: &[Register] = &[$($constant),*];
    };
    (@) => { None };
    (@ $sign:literal) => { Some($sign) };
}

registers! {
    FIRMWARE_MAJOR = "Firmware_Major_Version" 0, 1;
    FIRMWARE_MINOR = "Firmware_Minor_Version" 1, 1;
    MODEL = "Model_Number" 3, 2;
    ID = "ID" 5, 1;
    BAUD_RATE = "Baud_Rate" 6, 1;
    RETURN_DELAY_TIME = "Return_Delay_Time" 7, 1;
    RESPONSE_STATUS_LEVEL = "Response_Status_Level" 8, 1;
    MIN_POSITION_LIMIT = "Min_Position_Limit" 9, 2;
    MAX_POSITION_LIMIT = "Max_Position_Limit" 11, 2;
    MAX_VOLTAGE_LIMIT = "Max_Voltage_Limit" 14, 1;
    MIN_VOLTAGE_LIMIT = "Min_Voltage_Limit" 15, 1;
    MAX_TORQUE_LIMIT = "Max_Torque_Limit" 16, 2;
    PHASE = "Phase" 18, 1;
    P_COEFFICIENT = "P_Coefficient" 21, 1;
    D_COEFFICIENT = "D_Coefficient" 22, 1;
    I_COEFFICIENT = "I_Coefficient" 23, 1;
    PROTECTION_CURRENT = "Protection_Current" 28, 2;
    HOMING_OFFSET = "Homing_Offset" 31, 2 sign 11;
    OPERATING_MODE = "Operating_Mode" 33, 1;
    OVERLOAD_TORQUE = "Overload_Torque" 36, 1;
    TORQUE_ENABLE = "Torque_Enable" 40, 1;
    ACCELERATION = "Acceleration" 41, 1;
    GOAL_POSITION = "Goal_Position" 42, 2 sign 15;
    GOAL_VELOCITY = "Goal_Velocity" 46, 2 sign 15;
    TORQUE_LIMIT = "Torque_Limit" 48, 2;
    LOCK = "Lock" 55, 1;
    PRESENT_POSITION = "Present_Position" 56, 2 sign 15;
    PRESENT_VELOCITY = "Present_Velocity" 58, 2 sign 15;
    PRESENT_LOAD = "Present_Load" 60, 2 sign 10;
    PRESENT_VOLTAGE = "Present_Voltage" 62, 1;
    PRESENT_TEMPERATURE = "Present_Temperature" 63, 1;
    STATUS = "Status" 65, 1;
    MOVING = "Moving" 66, 1;
    PRESENT_CURRENT = "Present_Current" 69, 2;
    MAXIMUM_ACCELERATION = "Maximum_Acceleration" 85, 1;
}

/// Load, voltage and temperature, which lie one behind the other: to be read at once, byte by byte.
pub const HEALTH: Register =
    Register { name: "Present_Load to Present_Temperature", addr: 60, size: 4, sign_bit: None };

impl Register {
    /// The register's bytes for a value, or none when it has no room for it.
    pub fn encode(&self, value: i32) -> Option<Vec<u8>> {
        let magnitude = value.unsigned_abs();
        let bits = self.sign_bit.map_or(u32::from(self.size) * 8, u32::from);
        if magnitude >> bits != 0 || (value < 0 && self.sign_bit.is_none()) {
            return None;
        }
        let sign = if value < 0 { 1 << bits } else { 0 };
        Some((magnitude | sign).to_le_bytes()[..usize::from(self.size)].to_vec())
    }

    /// The value of the register's bytes. Bytes beyond its size are not looked at; missing ones count as 0.
    pub fn decode(&self, bytes: &[u8]) -> i32 {
        let raw = bytes.iter().take(usize::from(self.size)).rev().fold(0i32, |v, b| (v << 8) | i32::from(*b));
        match self.sign_bit {
            Some(bit) if raw >> bit & 1 == 1 => -(raw & ((1 << bit) - 1)),
            Some(bit) => raw & ((1 << bit) - 1),
            None => raw,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_bytes() {
        let cases = [
            (HOMING_OFFSET, -50, Some(vec![0x32, 0x08])),
            (HOMING_OFFSET, 2047, Some(vec![0xFF, 0x07])),
            (HOMING_OFFSET, 2048, None),
            (MAX_POSITION_LIMIT, 3400, Some(vec![0x48, 0x0D])),
            (MAX_POSITION_LIMIT, -1, None),
            (GOAL_POSITION, -2, Some(vec![0x02, 0x80])),
            (GOAL_POSITION, 32768, None),
            (GOAL_POSITION, i32::MIN, None),
            (LOCK, 1, Some(vec![1])),
            (LOCK, 256, None),
        ];
        for (register, value, bytes) in cases {
            assert_eq!(register.encode(value), bytes, "{} {value}", register.name);
            if let Some(bytes) = bytes {
                assert_eq!(register.decode(&bytes), value, "{}", register.name);
            }
        }
        assert_eq!(PRESENT_LOAD.decode(&[0x0A, 0x04]), -10);
    }

    #[test]
    fn the_table_is_in_order_and_does_not_overlap() {
        assert!(ALL.is_sorted_by(|a, b| a.addr + a.size <= b.addr));
    }
}
