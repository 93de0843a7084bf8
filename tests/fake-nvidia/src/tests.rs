//! Uses the driver as a program of API 12.1 does, rightly and wrongly.

use crate::api::{NvEncodeAPICreateInstance, NvEncodeAPIGetMaxSupportedVersion};
use crate::cuda::{cuCtxCreate_v2, cuCtxDestroy_v2, cuInit};
use crate::status::*;
use nv::NV_ENC_BUFFER_FORMAT::NV_ENC_BUFFER_FORMAT_NV12;
use nvidia_video_codec_sdk::sys::nvEncodeAPI as nv;
use std::ffi::c_void;
use std::io::Write;
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::ptr::null_mut;

const WIDTH: usize = 64;
const HEIGHT: usize = 48;
/// FORCEIDR and OUTPUT_SPSPPS.
const FORCED: u32 = 2 | 4;

/// A structure of zeroes, filled through its pointer: its enums need not have a variant of 0.
struct Zeroed<T>(Box<MaybeUninit<T>>);

impl<T> Zeroed<T> {
    fn new() -> Zeroed<T> {
        Zeroed(Box::new(MaybeUninit::zeroed()))
    }

    fn at(&mut self) -> *mut T {
        self.0.as_mut_ptr()
    }
}

macro_rules! set {
    ($to:expr, $($field:ident).+, $value:expr) => {
        // SAFETY: a field of a structure that is there.
        unsafe { (&raw mut (*$to).$($field).+).write($value) }
    };
}
macro_rules! get {
    ($from:expr, $field:ident) => {
        // SAFETY: a field of a structure that is there.
        unsafe { (&raw const (*$from).$field).read() }
    };
}

/// A session on a context, with NVENC's functions.
struct Client {
    list: Zeroed<nv::NV_ENCODE_API_FUNCTION_LIST>,
    context: *mut c_void,
    encoder: *mut c_void,
}

macro_rules! call {
    ($client:expr, $function:ident, $($argument:expr),*) => {
        {
            let function = get!($client.list.at(), $function).unwrap();
            // SAFETY: the fake gives statuses that the enum has, unless a fault asks for another.
            unsafe { function($client.encoder, $($argument),*) as u32 }
        }
    };
}

impl Client {
    fn open() -> Client {
        let mut list = Zeroed::<nv::NV_ENCODE_API_FUNCTION_LIST>::new();
        set!(list.at(), version, nv::NV_ENCODE_API_FUNCTION_LIST_VER);
        // SAFETY: the structure is there.
        assert_eq!(unsafe { NvEncodeAPICreateInstance(list.at()) }, SUCCESS);
        let mut context = null_mut();
        assert_eq!(cuInit(0), 0);
        // SAFETY: the pointer is there.
        assert_eq!(unsafe { cuCtxCreate_v2(&mut context, 0, 0) }, 0);
        let mut client = Client { list, context, encoder: null_mut() };
        assert_eq!(client.reopen(|_| ()), SUCCESS);
        client
    }

    /// Opens another session, with parameters that are changed first.
    fn reopen(&mut self, change: impl FnOnce(*mut nv::NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS)) -> u32 {
        let mut parameters = Zeroed::<nv::NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS>::new();
        set!(parameters.at(), version, nv::NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS_VER);
        set!(parameters.at(), apiVersion, nv::NVENCAPI_VERSION);
        set!(parameters.at(), deviceType, nv::NV_ENC_DEVICE_TYPE::NV_ENC_DEVICE_TYPE_CUDA);
        set!(parameters.at(), device, self.context);
        change(parameters.at());
        let open = get!(self.list.at(), nvEncOpenEncodeSessionEx).unwrap();
        // SAFETY: the structure is there.
        unsafe { open(parameters.at(), &mut self.encoder) as u32 }
    }

    /// Initialises with a preset's configuration that is changed first.
    fn initialize(
        &mut self,
        codec: nv::GUID,
        change: impl FnOnce(*mut nv::NV_ENC_INITIALIZE_PARAMS, *mut nv::NV_ENC_CONFIG),
    ) -> u32 {
        let mut preset = Zeroed::<nv::NV_ENC_PRESET_CONFIG>::new();
        set!(preset.at(), version, nv::NV_ENC_PRESET_CONFIG_VER);
        set!(preset.at(), presetCfg.version, nv::NV_ENC_CONFIG_VER);
        let tuning = nv::NV_ENC_TUNING_INFO::NV_ENC_TUNING_INFO_LOW_LATENCY;
        let asked = (codec, nv::NV_ENC_PRESET_P4_GUID);
        assert_eq!(call!(self, nvEncGetEncodePresetConfigEx, asked.0, asked.1, tuning, preset.at()), SUCCESS);
        let mut parameters = Zeroed::<nv::NV_ENC_INITIALIZE_PARAMS>::new();
        let to = parameters.at();
        // SAFETY: the structure is there.
        let config = unsafe { &raw mut (*preset.at()).presetCfg };
        set!(to, version, nv::NV_ENC_INITIALIZE_PARAMS_VER);
        set!(to, encodeGUID, codec);
        set!(to, presetGUID, asked.1);
        set!(to, tuningInfo, tuning);
        set!(to, encodeWidth, WIDTH as u32);
        set!(to, encodeHeight, HEIGHT as u32);
        set!(to, frameRateNum, 30);
        set!(to, frameRateDen, 1);
        set!(to, enablePTD, 1);
        set!(to, encodeConfig, config);
        set!(config, gopLength, 4);
        change(to, config);
        call!(self, nvEncInitializeEncoder, to)
    }

    fn create_input(&mut self) -> *mut c_void {
        let mut parameters = Zeroed::<nv::NV_ENC_CREATE_INPUT_BUFFER>::new();
        set!(parameters.at(), version, nv::NV_ENC_CREATE_INPUT_BUFFER_VER);
        set!(parameters.at(), width, WIDTH as u32);
        set!(parameters.at(), height, HEIGHT as u32);
        set!(parameters.at(), bufferFmt, NV_ENC_BUFFER_FORMAT_NV12);
        assert_eq!(call!(self, nvEncCreateInputBuffer, parameters.at()), SUCCESS);
        get!(parameters.at(), inputBuffer)
    }

    fn create_output(&mut self) -> *mut c_void {
        let mut parameters = Zeroed::<nv::NV_ENC_CREATE_BITSTREAM_BUFFER>::new();
        set!(parameters.at(), version, nv::NV_ENC_CREATE_BITSTREAM_BUFFER_VER);
        assert_eq!(call!(self, nvEncCreateBitstreamBuffer, parameters.at()), SUCCESS);
        get!(parameters.at(), bitstreamBuffer)
    }

    /// Locks an input buffer: the status, its memory and its pitch.
    fn lock_input(&mut self, buffer: *mut c_void) -> (u32, *mut u8, usize) {
        let mut parameters = Zeroed::<nv::NV_ENC_LOCK_INPUT_BUFFER>::new();
        set!(parameters.at(), version, nv::NV_ENC_LOCK_INPUT_BUFFER_VER);
        set!(parameters.at(), inputBuffer, buffer);
        let status = call!(self, nvEncLockInputBuffer, parameters.at());
        (status, get!(parameters.at(), bufferDataPtr).cast(), get!(parameters.at(), pitch) as usize)
    }

    /// Writes a picture of one grey.
    fn fill(&mut self, buffer: *mut c_void, luma: u8) {
        let (status, data, pitch) = self.lock_input(buffer);
        assert_eq!(status, SUCCESS);
        assert!(pitch > WIDTH);
        for row in 0..HEIGHT * 3 / 2 {
            // SAFETY: the buffer holds so many rows at this pitch.
            unsafe { data.add(row * pitch).write_bytes(if row < HEIGHT { luma } else { 128 }, WIDTH) };
        }
        assert_eq!(call!(self, nvEncUnlockInputBuffer, buffer), SUCCESS);
    }

    fn encode(
        &mut self,
        input: *mut c_void,
        output: *mut c_void,
        flags: u32,
        change: impl FnOnce(*mut nv::NV_ENC_PIC_PARAMS),
    ) -> u32 {
        let mut parameters = Zeroed::<nv::NV_ENC_PIC_PARAMS>::new();
        let to = parameters.at();
        set!(to, version, nv::NV_ENC_PIC_PARAMS_VER);
        set!(to, inputWidth, WIDTH as u32);
        set!(to, inputHeight, HEIGHT as u32);
        set!(to, inputBuffer, input);
        set!(to, outputBitstream, output);
        set!(to, encodePicFlags, flags);
        set!(to, bufferFmt, NV_ENC_BUFFER_FORMAT_NV12);
        set!(to, pictureStruct, nv::NV_ENC_PIC_STRUCT::NV_ENC_PIC_STRUCT_FRAME);
        set!(to, inputTimeStamp, 77);
        change(to);
        call!(self, nvEncEncodePicture, to)
    }

    /// Locks a bitstream buffer: the status, what is in it, and whether it is a key frame.
    fn lock_output(&mut self, buffer: *mut c_void) -> (u32, Vec<u8>, bool) {
        let mut parameters = Zeroed::<nv::NV_ENC_LOCK_BITSTREAM>::new();
        set!(parameters.at(), version, nv::NV_ENC_LOCK_BITSTREAM_VER);
        set!(parameters.at(), outputBitstream, buffer);
        let status = call!(self, nvEncLockBitstream, parameters.at());
        if status != SUCCESS {
            return (status, Vec::new(), false);
        }
        assert_eq!(get!(parameters.at(), outputTimeStamp), 77);
        let data = get!(parameters.at(), bitstreamBufferPtr).cast::<u8>();
        let size = get!(parameters.at(), bitstreamSizeInBytes) as usize;
        // SAFETY: the buffer is locked, and holds so many bytes.
        let data = unsafe { std::slice::from_raw_parts(data, size) };
        (status, data.to_vec(), get!(parameters.at(), pictureType) == nv::NV_ENC_PIC_TYPE::NV_ENC_PIC_TYPE_IDR)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        assert_eq!(call!(self, nvEncDestroyEncoder,), SUCCESS);
        assert_eq!(cuCtxDestroy_v2(self.context), 0);
    }
}

#[test]
fn a_wrong_version_word_is_refused_everywhere() {
    let mut version = 0;
    // SAFETY: the pointer is there.
    assert_eq!(unsafe { NvEncodeAPIGetMaxSupportedVersion(&mut version) }, SUCCESS);
    assert_eq!(version, 12 << 4 | 1);
    // The same revision of another API, the right API with another revision, no version at all.
    let wrong = |word: u32| [word & !(1 << 24), word ^ 1 << 16, word ^ 1 << 31, word + 1, 0];
    let mut client = Client::open();
    macro_rules! refused {
        ($($function:ident($type:ident, $word:ident);)*) => { $(
            for word in wrong(nv::$word) {
                let mut parameters = Zeroed::<nv::$type>::new();
                set!(parameters.at(), version, word);
                assert_eq!(call!(client, $function, parameters.at()), INVALID_VERSION, "{} {word:#x}", stringify!($type));
            }
            assert_eq!(call!(client, $function, null_mut()), INVALID_PTR, stringify!($function));
        )* };
    }
    refused! {
        nvEncInitializeEncoder(NV_ENC_INITIALIZE_PARAMS, NV_ENC_INITIALIZE_PARAMS_VER);
        nvEncReconfigureEncoder(NV_ENC_RECONFIGURE_PARAMS, NV_ENC_RECONFIGURE_PARAMS_VER);
        nvEncCreateInputBuffer(NV_ENC_CREATE_INPUT_BUFFER, NV_ENC_CREATE_INPUT_BUFFER_VER);
        nvEncCreateBitstreamBuffer(NV_ENC_CREATE_BITSTREAM_BUFFER, NV_ENC_CREATE_BITSTREAM_BUFFER_VER);
        nvEncLockInputBuffer(NV_ENC_LOCK_INPUT_BUFFER, NV_ENC_LOCK_INPUT_BUFFER_VER);
        nvEncLockBitstream(NV_ENC_LOCK_BITSTREAM, NV_ENC_LOCK_BITSTREAM_VER);
        nvEncEncodePicture(NV_ENC_PIC_PARAMS, NV_ENC_PIC_PARAMS_VER);
        nvEncGetSequenceParams(NV_ENC_SEQUENCE_PARAM_PAYLOAD, NV_ENC_SEQUENCE_PARAM_PAYLOAD_VER);
    }
    let h264 = nv::NV_ENC_CODEC_H264_GUID;
    for word in wrong(nv::NV_ENC_CONFIG_VER) {
        assert_eq!(client.initialize(h264, |_, config| set!(config, version, word)), INVALID_VERSION, "{word:#x}");
    }
    let encoder = client.encoder;
    for word in wrong(nv::NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS_VER) {
        assert_eq!(client.reopen(|parameters| set!(parameters, version, word)), INVALID_VERSION, "{word:#x}");
    }
    assert_eq!(client.reopen(|parameters| set!(parameters, apiVersion, 12)), INVALID_VERSION);
    assert_eq!(client.reopen(|parameters| set!(parameters, device, null_mut())), INVALID_DEVICE);
    client.encoder = encoder;
}

#[test]
fn wrong_parameters_are_refused() {
    type Change = fn(*mut nv::NV_ENC_INITIALIZE_PARAMS, *mut nv::NV_ENC_CONFIG);
    let cases: &[(&str, u32, Change)] = &[
        ("codec", UNSUPPORTED_PARAM, |to, _| set!(to, encodeGUID, nv::NV_ENC_PRESET_P1_GUID)),
        ("preset", INVALID_PARAM, |to, _| set!(to, presetGUID, nv::NV_ENC_CODEC_H264_GUID)),
        ("size 0", INVALID_PARAM, |to, _| set!(to, encodeWidth, 0)),
        ("odd size", INVALID_PARAM, |to, _| set!(to, encodeHeight, 49)),
        ("too large", INVALID_PARAM, |to, _| set!(to, encodeWidth, 4098)),
        ("rate", INVALID_PARAM, |to, _| set!(to, frameRateDen, 0)),
        ("configuration", INVALID_PARAM, |to, _| set!(to, encodeConfig, null_mut())),
        ("picture types", UNSUPPORTED_PARAM, |to, _| set!(to, enablePTD, 0)),
        ("asynchronous", UNSUPPORTED_PARAM, |to, _| set!(to, enableEncodeAsync, 1)),
        ("profile", INVALID_PARAM, |_, config| set!(config, profileGUID, nv::NV_ENC_HEVC_PROFILE_MAIN_GUID)),
        ("GOP", INVALID_PARAM, |_, config| set!(config, gopLength, 0)),
        ("B-frames", INVALID_PARAM, |_, config| set!(config, frameIntervalP, 2)),
        ("quality", INVALID_PARAM, |_, config| set!(config, rcParams.targetQuality, 52)),
        ("bit rates", INVALID_PARAM, |_, config| set!(config, rcParams.maxBitRate, 1)),
        // SAFETY: the first word of a structure's field; zero is no variant of the enum.
        ("frame mode", INVALID_PARAM, |_, config| unsafe {
            (&raw mut (*config).frameFieldMode).cast::<u32>().write(0)
        }),
        // SAFETY: as above.
        ("tuning", INVALID_PARAM, |to, _| unsafe { (&raw mut (*to).tuningInfo).cast::<u32>().write(0) }),
    ];
    let mut client = Client::open();
    for (name, status, change) in cases {
        assert_eq!(client.initialize(nv::NV_ENC_CODEC_H264_GUID, change), *status, "{name}");
    }
    assert_eq!(client.initialize(nv::NV_ENC_CODEC_H264_GUID, |_, _| ()), SUCCESS);
}

#[test]
fn calls_come_in_their_order() {
    let mut client = Client::open();
    assert_eq!(client.encode(null_mut(), null_mut(), 0, |_| ()), ENCODER_NOT_INITIALIZED);
    assert_eq!(client.initialize(nv::NV_ENC_CODEC_H264_GUID, |_, _| ()), SUCCESS);
    assert_eq!(client.initialize(nv::NV_ENC_CODEC_H264_GUID, |_, _| ()), INVALID_CALL);
    let (input, output) = (client.create_input(), client.create_output());
    assert_eq!(client.encode(output, output, 0, |_| ()), INVALID_PARAM);
    assert_eq!(client.encode(input, input, 0, |_| ()), INVALID_PARAM);
    assert_eq!(client.encode(input, output, 0, |to| set!(to, inputWidth, 62)), INVALID_PARAM);
    let other = nv::NV_ENC_BUFFER_FORMAT::NV_ENC_BUFFER_FORMAT_IYUV;
    assert_eq!(client.encode(input, output, 0, |to| set!(to, bufferFmt, other)), INVALID_PARAM);
    let fields = nv::NV_ENC_PIC_STRUCT::NV_ENC_PIC_STRUCT_FIELD_TOP_BOTTOM;
    assert_eq!(client.encode(input, output, 0, |to| set!(to, pictureStruct, fields)), INVALID_PARAM);
    assert_eq!(client.lock_output(output).0, INVALID_PARAM, "nothing is in it");
    assert_eq!(call!(client, nvEncUnlockInputBuffer, input), INVALID_PARAM, "it is not locked");
    assert_eq!(client.lock_input(input).0, SUCCESS);
    assert_eq!(client.lock_input(input).0, LOCK_BUSY);
    assert_eq!(client.encode(input, output, 0, |_| ()), INVALID_PARAM, "it is locked");
    assert_eq!(call!(client, nvEncUnlockInputBuffer, input), SUCCESS);
    assert_eq!(client.encode(input, output, 0, |_| ()), SUCCESS);
    assert_eq!(client.encode(input, output, 0, |_| ()), INVALID_PARAM, "nobody took the picture");
    assert_eq!(client.lock_output(output).0, SUCCESS);
    assert_eq!(client.lock_output(output).0, LOCK_BUSY);
    assert_eq!(client.encode(input, output, 0, |_| ()), INVALID_PARAM, "it is locked");
    assert_eq!(call!(client, nvEncUnlockBitstream, output), SUCCESS);
    assert_eq!(call!(client, nvEncUnlockBitstream, output), INVALID_PARAM);
    assert_eq!(call!(client, nvEncInvalidateRefFrames, 0), UNIMPLEMENTED);
    assert_eq!(call!(client, nvEncDestroyInputBuffer, input), SUCCESS);
    assert_eq!(call!(client, nvEncDestroyInputBuffer, input), INVALID_PARAM);
    let encoder = std::mem::replace(&mut client.encoder, null_mut());
    assert_eq!(call!(client, nvEncDestroyEncoder,), INVALID_PTR);
    client.encoder = encoder;
}

/// The mean luma of each picture, by ffmpeg.
fn decode(stream: &[u8], format: &str) -> Vec<u8> {
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-f", format, "-i", "pipe:0", "-vf", "scale=1:1:flags=area,format=gray"])
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg is installed: apt-get install ffmpeg");
    child.stdin.take().unwrap().write_all(stream).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Encodes six greys, the third as a forced key frame.
#[test]
fn every_codec_gives_pictures_that_decode() {
    const GREYS: [u8; 6] = [40, 70, 100, 130, 160, 190];
    let codecs = [
        ("h264", nv::NV_ENC_CODEC_H264_GUID, vec![true, false, true, false, false, false]),
        ("hevc", nv::NV_ENC_CODEC_HEVC_GUID, vec![true; 6]),
        ("obu", nv::NV_ENC_CODEC_AV1_GUID, vec![true; 6]),
    ];
    for (format, codec, expected_keys) in codecs {
        let mut client = Client::open();
        assert_eq!(client.initialize(codec, |_, config| set!(config, rcParams.targetQuality, 10)), SUCCESS, "{format}");
        let (input, output) = (client.create_input(), client.create_output());
        let (mut stream, mut keys) = (Vec::new(), Vec::new());
        for (i, grey) in GREYS.into_iter().enumerate() {
            client.fill(input, grey);
            let flags = if i == 2 { FORCED } else { 0 };
            assert_eq!(client.encode(input, output, flags, |_| ()), SUCCESS, "{format}");
            let (status, data, key) = client.lock_output(output);
            assert_eq!(status, SUCCESS, "{format}");
            assert_eq!(call!(client, nvEncUnlockBitstream, output), SUCCESS);
            if i == 2 {
                // With parameter sets in front, a decoder can begin there.
                assert_eq!(decode(&data, format).len(), 1, "{format}");
            }
            stream.extend(data);
            keys.push(key);
        }
        assert_eq!(keys, expected_keys, "{format}");
        let decoded = decode(&stream, format);
        assert_eq!(decoded.len(), GREYS.len(), "{format}");
        for (grey, luma) in GREYS.into_iter().zip(decoded) {
            // ffmpeg shows limited range as full.
            let shown = (f64::from(grey) - 16.0) * 255.0 / 219.0;
            assert!((shown - f64::from(luma)).abs() < 4.0, "{format}: {grey} became {luma}, not {shown}");
        }
    }
}
