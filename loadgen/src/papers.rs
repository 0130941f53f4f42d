//! What shells and manuals want to know of the command line, made from what reads it.

use clap::{CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Arguments;

/// What stands where a scenario does to have the manual's page.
pub const MAN: &str = "man";
/// The same for what completes the command line in a shell.
pub const COMPLETIONS: &str = "completions";

/// The manual's page.
pub fn man() -> String {
    let mut page = Vec::new();
    // Memory takes everything.
    let _ = Man::new(Arguments::command()).render(&mut page);
    String::from_utf8_lossy(&page).into_owned()
}

/// What completes the command line in a shell.
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "aorta-load", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// A shell by its name.
pub fn shell(name: &str) -> Result<Shell, String> {
    Shell::from_str(name, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_and_the_completions_have_every_option() {
        let page = man();
        let scripts = [Shell::Bash, Shell::Zsh, Shell::Fish].map(completions);
        for option in Arguments::command().get_arguments().filter_map(clap::Arg::get_long) {
            let written = format!("\\-\\-{}", option.replace('-', "\\-"));
            assert!(page.contains(&written), "--{option}");
            assert!(scripts.iter().all(|script| script.contains(option)), "--{option}");
        }
    }
}
