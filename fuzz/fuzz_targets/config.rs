//! Any text as `lab.toml`, its lines that start with `--` as overrides: a configuration that says the same when it is
//! written out and read again, or a message that names the file.
//!
//! `cargo fuzz run config fuzz/corpus/config examples` starts from the examples.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recorder::config::{self, Override, validate};

fuzz_target!(|input: &str| {
    let (mut text, mut overrides) = (String::new(), Vec::new());
    for line in input.lines() {
        match line.strip_prefix("--") {
            Some(line) => {
                let (key, value) = line.split_once('=').unwrap_or((line, ""));
                overrides.push(Override { key: key.into(), value: value.into() });
            }
            None => text.extend([line, "\n"]),
        }
    }
    match config::parse("lab.toml", &text, &overrides) {
        Ok(config) => {
            assert!(validate::ticks_per_episode(&config.dataset) > 0);
            let written = toml::to_string(&config).expect("a configuration is a table");
            assert_eq!(config::parse("lab.toml", &written, &[]).expect("it was accepted before"), config);
        }
        Err(error) => assert!(error.to_string().starts_with("lab.toml:")),
    }
});
