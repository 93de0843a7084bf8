//! Any bytes in the place of one of a data set's tables (the first byte says which): `recorder verify` gives findings.
//!
//! The `parquet` library's own panics are contained by our reader; libFuzzer would take them for crashes, so that the
//! hook which ends the process is put aside while it reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recorder::verify::verify;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

const TABLES: [&str; 3] =
    ["data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet"];

/// A data set that LeRobot recorded, to be damaged.
struct Sample {
    root: PathBuf,
    tables: Vec<Vec<u8>>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/lerobot-v3-sample");
    let root = std::env::temp_dir().join(format!("recorder-fuzz-{}", std::process::id()));
    for file in TABLES.iter().chain(&["meta/info.json", "meta/stats.json"]) {
        fs::create_dir_all(root.join(file).parent().expect("a folder above"))
            .expect("the temporary folder can be written in");
        fs::copy(sample.join(file), root.join(file)).expect("the sample is there");
    }
    // Ours says where and why; libFuzzer's would end the process.
    std::panic::set_hook(Box::new(|_| {}));
    let tables = TABLES.iter().map(|table| fs::read(sample.join(table)).expect("the sample is there")).collect();
    Sample { root, tables }
});

fuzz_target!(|input: &[u8]| {
    let Sample { root, tables } = &*SAMPLE;
    let Some((which, rest)) = input.split_first() else { return };
    let which = usize::from(*which) % TABLES.len();
    // Half of the inputs are changes of the real table: pairs of a place and a byte.
    let bytes = if input.len() % 2 == 0 {
        rest.to_vec()
    } else {
        let mut bytes = tables[which].clone();
        for change in rest.chunks_exact(4) {
            let at = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize % bytes.len();
            bytes[at] = change[3];
        }
        bytes
    };
    let path = root.join(TABLES[which]);
    fs::write(&path, bytes).expect("the temporary folder can be written in");
    let verified = std::panic::catch_unwind(|| verify(root, false));
    fs::write(&path, &tables[which]).expect("the temporary folder can be written in");
    match verified {
        Ok(report) => assert!(report.is_ok(), "the data set is there"),
        // A panic of our own code, which nothing contained.
        Err(_) => std::process::abort(),
    }
});
