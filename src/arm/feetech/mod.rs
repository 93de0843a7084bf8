//! Feetech serial servos: the packets, the registers of the STS3215, and a bus that asks one question at a time.

pub mod bus;
pub mod packet;
pub mod port;
pub mod registers;
