//! The encoder is the fast one: this test does not link when openh264 was built without its assembler or without AVX2.
#![cfg(target_arch = "x86_64")]

unsafe extern "C" {
    // Of openh264: the sum of transformed differences, and the quantiser.
    fn WelsSampleSatd16x16_sse41();
    fn WelsSampleSatd16x16_avx2();
    fn WelsQuantFour4x4_avx2();
}

#[test]
fn openh264_has_its_assembler_and_avx2() {
    for function in [WelsSampleSatd16x16_sse41, WelsSampleSatd16x16_avx2, WelsQuantFour4x4_avx2] {
        assert!(!std::hint::black_box(function as *const u8).is_null());
    }
    // Links the library that holds them.
    assert!(openh264::encoder::Encoder::new().is_ok());
}
