//! Any bytes as a take's journal: read without a panic, up to the first damage, in bounded memory. The first byte says
//! whether the rest is the journal itself, or records' contents, which then get their right lengths and checksums, behind
//! a head that is right: so that what stands in them is fuzzed and not only their frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recorder::dataset::journal::{Journal, MAX_RECORD_BYTES};

const HEAD: &[u8] = br#"{"head":{"version":1,"take":0,"task":"a","info":{"codebase_version":"v3.0","fps":30,"features":{},"total_episodes":0,"total_frames":0,"total_tasks":0,"chunks_size":1000,"data_files_size_in_mb":100,"video_files_size_in_mb":200,"data_path":"","video_path":null,"robot_type":null,"splits":{}},"cameras":[{"key":"front","color_range":"limited"}]}}"#;

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    if kind % 2 == 0 {
        check(rest);
        return;
    }
    let mut bytes = record(HEAD);
    let head = bytes.len() as u64;
    rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(|line| bytes.extend(record(line)));
    let journal = check(&bytes).expect("its head is right");
    assert!(journal.damage.is_none_or(|damage| damage.at >= head));
});

fn record(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length);
    crc.update(content);
    [&length[..], &crc.finalize().to_le_bytes(), content].concat()
}

fn check(bytes: &[u8]) -> Option<Journal> {
    let journal = match Journal::parse(bytes) {
        Ok(journal) => journal,
        Err(damage) => {
            assert_eq!(damage.at, 0);
            return None;
        }
    };
    let cameras = journal.head.cameras.len();
    assert_eq!(journal.fragments.len(), cameras);
    assert!(journal.rows.iter().all(|(row, _)| row.cameras.len() == cameras));
    for fragments in &journal.fragments {
        let mut next = 0;
        for fragment in fragments {
            assert_eq!(fragment.first_frame, next);
            assert!(fragment.sizes.len() <= MAX_RECORD_BYTES);
            next = fragment.end();
            let _ = (fragment.bytes(), fragment.pixels());
        }
    }
    if let Some(damage) = &journal.damage {
        // What comes before the damage says the same by itself.
        assert!(damage.at < damage.bytes && damage.bytes == bytes.len() as u64);
        let whole = Journal::parse(&bytes[..damage.at as usize]).expect("its head is right");
        assert!(whole == Journal { damage: None, ..journal.clone() });
    }
    Some(journal)
}
