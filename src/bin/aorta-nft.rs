//! `aorta-nft`: lets nftables hold what a registrar of this host has blocked. It is small on
//! purpose: this program alone holds CAP_NET_ADMIN. What it takes and does is
//! [`aorta::shield::daemon`]'s; here are only its arguments.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aorta::shield::daemon::{self, Settings};
use aorta::shield::nft::Nft;

const USAGE: &str = "\
usage: aorta-nft --user NAME|NUMBER [--socket PATH] [--nft PATH]

Lets nftables hold what `aorta serve` has blocked, in the sets of the table inet aorta that
`aorta shield apply` loads. It needs CAP_NET_ADMIN and nothing else.

  --user    whom it serves: the user `aorta serve` runs as
  --socket  where it listens; /run/aorta-nft/socket unless given
  --nft     nft, where it is not in the usual places";

fn main() -> ExitCode {
    let settings = match read(std::env::args().skip(1)) {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            // Whoever asked for it may have gone away.
            let _ = writeln!(io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(fault) => {
            tell(&format_args!("aorta-nft: {fault}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    let Err(error) = daemon::run(&settings, &tell);
    tell(&format_args!("aorta-nft: {}: {error}", settings.socket.display()));
    ExitCode::FAILURE
}

fn tell(line: &dyn Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Its settings; `None` where only its usage was asked for.
fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Settings>, String> {
    let mut socket = PathBuf::from("/run/aorta-nft/socket");
    let (mut user, mut nft) = (None, None);
    while let Some(name) = arguments.next() {
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        let value = arguments.next().ok_or_else(|| format!("nothing follows {name}"))?;
        match name.as_str() {
            "--socket" => socket = value.into(),
            "--user" => user = Some(number_of(&value)?),
            "--nft" => nft = Some(PathBuf::from(value)),
            _ => return Err(format!("{name} is no argument of it")),
        }
    }
    let user = user.ok_or("--user is needed: the user `aorta serve` runs as")?;
    let nft = Nft::find(nft.as_deref()).map_err(|error| error.to_string())?;
    Ok(Some(Settings { socket, user, nft }))
}

/// The number of a user.
fn number_of(user: &str) -> Result<u32, String> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let file = Path::new("/etc/passwd");
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let number = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    number.ok_or_else(|| format!("there is no user {user} in {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Result<Option<Settings>, String> {
        read(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_are_taken_or_refused_by_name() {
        assert_eq!(number_of("root"), Ok(0));
        assert_eq!(number_of("1234"), Ok(1234));
        assert!(number_of("nobody-has:this").unwrap_err().contains("no user"));
        assert!(matches!(arguments("--help"), Ok(None)));
        for (text, fault) in [
            ("", "--user is needed"),
            ("--user", "nothing follows"),
            ("--user 1 --shell sh", "--shell is no argument"),
            ("--user 1 --nft /nowhere/nft", "no nft"),
        ] {
            assert!(arguments(text).unwrap_err().contains(fault), "{text}");
        }
    }
}
