//! `aorta shield check`: what of the shield is possible here; each finding with what helps.

use std::fs;
use std::process::ExitCode;

use axum::http::Method;
use serde_json::json;

use super::{PATH, desk};
use crate::cli::Failure;
use crate::cli::args::ShieldArgs;
use crate::cli::say::print;
use crate::config::{Kernel, Settings};
use crate::guard::filter::INSTRUCTIONS_MAX;
use crate::reactor::filter_instructions_allowed;
use crate::shield::nft::{Nft, NftError};
use crate::shield::sets::TABLE;
use crate::shield::{helper_listens, table};

/// Which means a finding is about.
#[derive(Clone, Copy, PartialEq)]
enum About {
    Socket,
    Nftables,
    Neither,
}

/// One thing that was looked at.
struct Finding {
    name: &'static str,
    about: About,
    good: bool,
    found: String,
    remedy: Option<String>,
}

impl Finding {
    fn good(name: &'static str, about: About, found: impl Into<String>) -> Finding {
        Finding { name, about, good: true, found: found.into(), remedy: None }
    }

    fn bad(
        name: &'static str,
        about: About,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        let (found, remedy) = (found.into(), Some(remedy.into()));
        Finding { name, about, good: false, found, remedy }
    }
}

/// Looks at everything and shows it.
pub(super) fn run(args: &ShieldArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    let mut findings = vec![kernel(), socket_filter()];
    findings.extend(nftables(args, settings));
    findings.push(helper(settings));
    findings.extend(server(args)?);
    let possible = |about| findings.iter().all(|one| one.good || one.about != about);
    let (socket, nftables) = (possible(About::Socket), possible(About::Nftables));
    let wanted = settings.shield.kernel;
    let good = match wanted {
        Kernel::Auto => socket || nftables,
        Kernel::Nftables => nftables,
        Kernel::Socket => socket,
        Kernel::Off => true,
    };
    if args.json {
        let one = |finding: &Finding| {
            json!({
                "name": finding.name,
                "good": finding.good,
                "found": finding.found,
                "remedy": finding.remedy,
            })
        };
        let findings: Vec<_> = findings.iter().map(one).collect();
        print(json!({
            "kernel": wanted.word(),
            "good": good,
            "socket": socket,
            "nftables": nftables,
            "findings": findings,
        }))?;
    } else {
        for Finding { name, good, found, remedy, .. } in &findings {
            print(format_args!("{}  {name:13}  {found}", if *good { "good" } else { "no  " }))?;
            if let Some(remedy) = remedy {
                print(format_args!("      {:13}  {remedy}", ""))?;
            }
        }
        let word = |possible| if possible { "possible" } else { "not possible yet" };
        print(format_args!(
            "shield.kernel is {wanted}; nftables: {}, socket filters: {}",
            word(nftables),
            word(socket)
        ))?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Finding::good("kernel", About::Neither, format!("Linux {}", release.trim()))
}

fn socket_filter() -> Finding {
    const NAME: &str = "socket filter";
    match filter_instructions_allowed() {
        Ok(most) => {
            let found = format!(
                "programs of {most} instructions, which is some {} single sources of IPv4",
                most * 2 / 3
            );
            let mut finding = Finding::good(NAME, About::Socket, found);
            if most < INSTRUCTIONS_MAX {
                let more = "`sysctl -w net.core.optmem_max=131072` makes room for longer ones";
                finding.remedy = Some(more.to_owned());
            }
            finding
        }
        Err(error) => Finding::bad(
            NAME,
            About::Socket,
            format!("the kernel refuses one: {error}"),
            "a seccomp filter or security module forbids SO_ATTACH_FILTER; allow setsockopt",
        ),
    }
}

fn nftables(args: &ShieldArgs, settings: &Settings) -> Vec<Finding> {
    const PRIVILEGE: &str =
        "only root, or who has CAP_NET_ADMIN, can look: `sudo aorta shield check`";
    let nft = match Nft::find(args.nft.as_deref()) {
        Ok(nft) => nft,
        Err(error) => {
            let remedy = "install it, as by `apt-get install nftables`, or name it by --nft";
            return vec![Finding::bad("nft", About::Nftables, error.to_string(), remedy)];
        }
    };
    let version = nft.run(&["--version"], "").unwrap_or_default();
    let version = version.lines().next().unwrap_or_default().trim().to_owned();
    let mut findings =
        vec![Finding::good("nft", About::Nftables, format!("{}, {version}", nft.path().display()))];
    findings.push(match nft.check(&table(settings)) {
        Ok(()) => Finding::good("its table", About::Nftables, "nft and the kernel take it"),
        Err(error) if error.is_forbidden() => {
            Finding::bad("its table", About::Nftables, error.to_string(), PRIVILEGE)
        }
        Err(error @ NftError::Refused(_)) => Finding::bad(
            "its table",
            About::Nftables,
            error.to_string(),
            "nftables 0.9.4 and Linux 5.10 or later are needed, with nf_tables and nft_limit built",
        ),
        Err(error) => {
            Finding::bad("its table", About::Nftables, error.to_string(), "see whether nft runs")
        }
    });
    findings.push(match nft.run(&["-t", "list", "table", "inet", "aorta"], "") {
        Ok(_) => Finding::good("loaded", About::Nftables, format!("table {TABLE} is there")),
        Err(error) if error.is_absent() => Finding::bad(
            "loaded",
            About::Nftables,
            format!("there is no table {TABLE}"),
            "`aorta shield apply` loads it",
        ),
        Err(error) => Finding::bad("loaded", About::Nftables, error.to_string(), PRIVILEGE),
    });
    findings
}

fn helper(settings: &Settings) -> Finding {
    const NAME: &str = "aorta-nft";
    let Some(path) = &settings.shield.helper else {
        let remedy = "set shield.helper to the socket of aorta-nft";
        return Finding::bad(NAME, About::Nftables, "shield.helper is empty", remedy);
    };
    match helper_listens(path) {
        Ok(()) => Finding::good(NAME, About::Nftables, format!("listens at {}", path.display())),
        Err(error) => Finding::bad(
            NAME,
            About::Nftables,
            format!("{}: {error}", path.display()),
            "`systemctl start aorta-nft`, or see tuning/shield.md; a user it does not serve cannot \
             tell",
        ),
    }
}

fn server(args: &ShieldArgs) -> Result<Option<Finding>, Failure> {
    const NAME: &str = "the registrar";
    let Some(desk) = desk(args)? else { return Ok(None) };
    Ok(Some(match desk.value(&Method::GET, PATH) {
        Ok(state) => {
            let word = |name: &str| state.get(name).and_then(|v| v.as_str()).unwrap_or("?");
            let found = format!("uses {}, and drops by: {}", word("setting"), word("means"));
            Finding::good(NAME, About::Neither, found)
        }
        Err(failure) => {
            let remedy = "start it with --admin, and give its token";
            Finding::bad(NAME, About::Neither, failure.into_line(), remedy)
        }
    }))
}
