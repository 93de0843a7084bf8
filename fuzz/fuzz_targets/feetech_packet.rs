//! Any bytes, in any pieces: the decoder neither panics nor sticks, and what it finds was on the wire.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recorder::arm::feetech::packet::{Decoder, ErrorBits};
use recorder::arm::feetech::registers;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (max_params, piece, bytes) = input;
    let mut decoder = Decoder::default();
    for piece in bytes.chunks(usize::from(piece).max(1)) {
        decoder.push(piece);
        while let Some(found) = decoder.next(usize::from(max_params)) {
            let Ok(packet) = found else { continue };
            let wire = packet.encode();
            assert!(bytes.windows(wire.len()).any(|window| window == wire));
            let _ = ErrorBits(packet.code).to_string();
            for register in registers::ALL {
                let value = register.decode(&packet.params);
                assert!(register.encode(value).is_some());
            }
        }
    }
});
