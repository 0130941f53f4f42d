//! `aorta shield`: the kernel's share of the shield, checked, applied, shown and taken back, for
//! both means: nftables, and the socket filters of a running registrar.

mod check;
mod show;

use std::process::ExitCode;

use axum::http::Method;
use serde_json::{Value, json};

use super::args::{SettingsArgs, ShieldArgs, ShieldCommand};
use super::ctl::{Desk, Shown, named_admin};
use super::say::{note, print};
use super::server::Server;
use super::{Failure, settings};
use crate::config::{Kernel, Settings};
use crate::shield::nft::Nft;
use crate::shield::sets::TABLE;
use crate::shield::{Shield, table};

const PATH: &str = "/api/v1/shield";

/// Begins to let the kernel have what a server has blocked.
pub(super) fn start(settings: &Settings, server: &mut Server) -> Shield {
    let shield = Shield::start(
        settings,
        server.running.controllers().to_vec(),
        server.running.filtered_sockets(),
        Box::new(|line: &str| note(line)),
    );
    let desk = shield.desk();
    server.on_reload(Box::new(move |settings| {
        let (desk, settings) = (desk.clone(), settings.clone());
        Ok(Box::new(move || desk.obey(&settings)))
    }));
    shield
}

/// Checks, applies, shows, or takes back.
pub fn run(args: &ShieldArgs) -> Result<ExitCode, Failure> {
    let sources = SettingsArgs { config: args.config.clone(), set: args.set.clone() };
    let settings = settings::load(&sources)?;
    settings.check().map_err(|refusal| Failure::new(refusal.to_string()))?;
    match &args.command {
        ShieldCommand::Check => check::run(args, &settings),
        ShieldCommand::Apply { print: true } => {
            print(table(&settings).trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        ShieldCommand::Apply { print: false } => apply(args, &settings),
        ShieldCommand::Show { limit } => show::run(args, *limit),
        ShieldCommand::Remove => remove(args),
    }
}

/// The running registrar, where somebody has said where it is.
fn desk(args: &ShieldArgs) -> Result<Option<Desk>, Failure> {
    let Some(at) = args.admin.clone().or_else(named_admin) else { return Ok(None) };
    let (token, token_file) = (args.token.as_ref(), args.token_file.as_deref());
    Desk::new(&at, Shown { token, token_file, authorities: None }, args.json).map(Some)
}

/// Has the running registrar use these means; what it says of itself then.
fn use_means(args: &ShieldArgs, kernel: Kernel) -> Result<Option<Value>, Failure> {
    let path = format!("{PATH}?kernel={kernel}");
    desk(args)?.map(|desk| desk.value(&Method::PUT, &path)).transpose()
}

fn apply(args: &ShieldArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    let kernel = settings.shield.kernel;
    let wants_table = matches!(kernel, Kernel::Auto | Kernel::Nftables);
    if wants_table {
        let loaded = Nft::find(args.nft.as_deref())
            .and_then(|nft| nft.carry_out(&table(settings)))
            .map_err(|error| Failure::new(format!("the table is not loaded: {error}")));
        loaded?;
    }
    let server = use_means(args, kernel)?;
    if args.json {
        let done = json!({ "loaded": wants_table, "server": server });
        print(done)?;
        return Ok(ExitCode::SUCCESS);
    }
    if wants_table {
        print(format_args!("loaded table {TABLE}; aorta-nft fills its sets within a minute"))?;
    }
    match server {
        Some(_) => print(format_args!("the registrar uses: {kernel}"))?,
        None if kernel == Kernel::Socket => {
            print("nothing to load: a registrar with shield.kernel=socket filters by itself")?;
        }
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(args: &ShieldArgs) -> Result<ExitCode, Failure> {
    // First whoever would put it back, then what is there.
    let server = use_means(args, Kernel::Off)?;
    let removed = match Nft::find(args.nft.as_deref()) {
        Err(_) => false,
        Ok(nft) => match nft.run(&["delete", "table", "inet", "aorta"], "") {
            Ok(_) => true,
            Err(error) if error.is_absent() => false,
            Err(error) => {
                return Err(Failure::new(format!("the table is not removed: {error}")));
            }
        },
    };
    if args.json {
        print(json!({ "removed": removed, "server": server }))?;
        return Ok(ExitCode::SUCCESS);
    }
    match removed {
        true => print(format_args!("removed table {TABLE}"))?,
        false => print(format_args!("there is no table {TABLE}"))?,
    }
    match server {
        Some(_) => print(
            "the registrar lets the kernel drop nothing, until its configuration is read again",
        )?,
        None => note(
            "a running registrar goes on with socket filters; --admin HOST:PORT takes those back \
             too, shield.kernel=off for good",
        ),
    }
    Ok(ExitCode::SUCCESS)
}
