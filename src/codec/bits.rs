//! Reading bits, as the headers of coded video are written. Pure, and total: what is not there is none.

/// What a NAL unit holds: 3 behind two zeros is there only so that no start code appears.
pub fn without_emulation_prevention(nal: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        content.push(byte);
    }
    content
}

/// Reads bits, the highest of each byte first; none beyond the end.
#[derive(Debug)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    at: u64,
}

impl Bits<'_> {
    /// From the first bit on.
    pub fn new(bytes: &[u8]) -> Bits<'_> {
        Bits { bytes, at: 0 }
    }

    /// One bit.
    pub fn flag(&mut self) -> Option<bool> {
        Some(self.take(1)? == 1)
    }

    /// At most 64.
    pub fn take(&mut self, count: u64) -> Option<u64> {
        (0..count).try_fold(0, |value, _| {
            let byte = self.bytes.get(usize::try_from(self.at / 8).ok()?)?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(value << 1 | u64::from(bit))
        })
    }

    /// Steps over bits; they must be there.
    pub fn skip(&mut self, count: u64) -> Option<()> {
        self.at += count;
        (self.at <= self.bytes.len() as u64 * 8).then_some(())
    }

    /// The code that H.264 and H.265 call ue(v) and AV1 uvlc().
    pub fn exp_golomb(&mut self) -> Option<u64> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        if zeros > 32 { None } else { Some((1 << zeros) - 1 + self.take(zeros)?) }
    }

    /// The code that H.264 calls se(v): 0, 1, -1, 2, -2, ….
    pub fn signed_exp_golomb(&mut self) -> Option<i64> {
        let code = i64::try_from(self.exp_golomb()?).ok()?;
        Some(if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 })
    }
}
