//! A line for each call that matters, into the file that `FAKE_NVENC_TRACE` names: `call key=value key=value …`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{LazyLock, Mutex};

static FILE: LazyLock<Option<Mutex<File>>> = LazyLock::new(|| {
    let path = std::env::var_os("FAKE_NVENC_TRACE")?;
    let file = OpenOptions::new().create(true).append(true).open(&path);
    Some(Mutex::new(file.unwrap_or_else(|error| panic!("fake driver: cannot write {}: {error}", path.display()))))
});

/// Appends a line at once, so that it is there even if the process dies in the call.
pub fn line(words: std::fmt::Arguments<'_>) {
    if let Some(file) = &*FILE {
        let line = format!("{words}\n");
        let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        file.write_all(line.as_bytes()).expect("fake driver: cannot write the trace");
    }
}

/// `trace!("encode session={id}")`.
macro_rules! trace {
    ($($words:tt)*) => { $crate::trace::line(format_args!($($words)*)) };
}
pub(crate) use trace;
