//! `aorta audit verify`: whether the audit files are what was written.

use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;

use super::Failure;
use super::args::{AuditArgs, AuditCommand};
use super::say::{note, print};
use crate::admin::Verifier;

/// Looks at the files, in the order they are given.
pub fn run(args: &AuditArgs) -> Result<ExitCode, Failure> {
    let AuditCommand::Verify { files, expect } = &args.command;
    let expected = expect.as_deref().map(line_of).transpose()?;
    let mut verifier = Verifier::expecting(expected.clone());
    let failed = |error: &dyn std::fmt::Display| Failure::new(error.to_string());
    for file in files {
        let name = file.display().to_string();
        let open = File::open(file)
            .map_err(|error| Failure::new(format!("cannot read {name}: {error}")))?;
        verifier.file(&name, BufReader::new(open)).map_err(|error| failed(&error))?;
    }
    let found = verifier.finish().map_err(|error| failed(&error))?;
    if let Some((line, _)) = expected
        && !found.known
    {
        return Err(Failure::new(format!("the line {line} that was expected is not there")));
    }
    if found.records == 0 {
        return Err(Failure::new("there is no line in it"));
    }
    if found.first > 1 {
        note(format_args!("it begins with line {}: older files are not among these", found.first));
    }
    if found.torn > 0 {
        note(format_args!("{} lines were cut off by a crash, and say so", found.torn));
    }
    print(format_args!("good: {} lines, to {} {}", found.records, found.last, found.hash))?;
    Ok(ExitCode::SUCCESS)
}

/// `NUMBER:HASH`
fn line_of(text: &str) -> Result<(u64, String), Failure> {
    let parts = text.split_once(':').and_then(|(line, hash)| Some((line.parse().ok()?, hash)));
    let good = parts
        .filter(|(_, hash)| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let (line, hash) = good.ok_or_else(|| {
        Failure::new(format!("--expect {text}: expected NUMBER:HASH, as a start or stop says them"))
    })?;
    Ok((line, hash.to_ascii_lowercase()))
}
