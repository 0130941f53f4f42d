//! `aorta completions` and `aorta man`: what shells and manuals want to know of the command line,
//! made from what reads it, so that it is never another.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::Failure;
use super::args::Cli;
use super::say::{note, print};

/// Shows what completes the command line in a shell.
pub fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "aorta", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the manual, a page for each command, into a directory; without one shows the page of
/// `aorta` itself.
pub fn man(directory: Option<&Path>) -> Result<ExitCode, Failure> {
    let pages = pages(Cli::command());
    let Some(directory) = directory else {
        let page = pages.first().map(|(_, page)| String::from_utf8_lossy(page).into_owned());
        print(page.unwrap_or_default().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    };
    let failed =
        |what: &Path, error| Failure::new(format!("cannot write {}: {error}", what.display()));
    fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    for (name, page) in &pages {
        let file = directory.join(format!("{name}.1"));
        fs::write(&file, page).map_err(|error| failed(&file, error))?;
    }
    note(format_args!("{} pages in {}", pages.len(), directory.display()));
    Ok(ExitCode::SUCCESS)
}

/// The page of a command and those of all below it, each with its name: `aorta-ctl-trace`.
fn pages(command: clap::Command) -> Vec<(String, Vec<u8>)> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    let name = command.get_name().to_owned();
    collect(&command, &name, &mut pages);
    pages
}

fn collect(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    let mut page = Vec::new();
    let man = Man::new(command.clone()).title(name.to_uppercase());
    // Memory takes everything.
    let _ = man.render(&mut page);
    pages.push((name.to_owned(), page));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below, &format!("{name}-{}", below.get_name()), pages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_names_it_and_each_of_its_options() {
        let pages = pages(Cli::command());
        let mut names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["aorta", "aorta-serve", "aorta-ctl-trace", "aorta-ctl-blacklist-add"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), pages.len(), "each once");
        let mut command = Cli::command();
        command.build();
        let mut left = vec![("aorta".to_owned(), &command)];
        while let Some((name, command)) = left.pop() {
            let page = pages.iter().find(|(page, _)| *page == name);
            let page = String::from_utf8_lossy(&page.unwrap_or_else(|| panic!("{name}")).1);
            assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}");
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                let written = format!("\\-\\-{}", option.replace('-', "\\-"));
                assert!(page.contains(&written), "{name} --{option}");
            }
            let below = command.get_subcommands().filter(|below| !below.is_hide_set());
            left.extend(below.map(|below| (format!("{name}-{}", below.get_name()), below)));
        }
    }

    #[test]
    fn each_shell_has_its_completions_with_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "aorta", &mut script);
            let script = String::from_utf8(script).expect("text");
            for word in ["serve", "demo", "registrations", "trace", "top", "suspensions"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
