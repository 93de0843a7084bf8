//! Questions to the person at the terminal, a line each.

use std::io::{self, BufRead, Write};

/// Whoever was asked has gone: the end of what they type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody answers any more; nothing was written")]
pub struct Left;

/// Who is asked.
pub trait Ask {
    /// The answer, without the space around it.
    fn ask(&mut self, question: &str) -> Result<String, Left>;
}

/// The terminal: questions on standard error, answers on standard input.
pub struct Terminal;

impl Ask for Terminal {
    fn ask(&mut self, question: &str) -> Result<String, Left> {
        let mut out = io::stderr().lock();
        out.write_all(question.as_bytes()).and_then(|()| out.flush()).map_err(|_| Left)?;
        let mut answer = String::new();
        match io::stdin().lock().read_line(&mut answer) {
            Ok(bytes) if bytes > 0 => Ok(answer.trim().to_string()),
            _ => Err(Left),
        }
    }
}

/// Asks until nothing is `wrong` with the answer; no answer means `usual`.
pub fn until_good(
    person: &mut dyn Ask,
    question: &str,
    usual: &str,
    wrong: impl Fn(&str) -> Option<String>,
) -> Result<String, Left> {
    let mut words = format!("{question} [{usual}] ");
    loop {
        let answer = person.ask(&words)?;
        let answer = if answer.is_empty() { usual.to_string() } else { answer };
        match wrong(&answer) {
            None => return Ok(answer),
            Some(problem) => words = format!("{problem}\n{question} [{usual}] "),
        }
    }
}
