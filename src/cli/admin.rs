//! The admin interface of `aorta serve`: its token, and the way to the shards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::Failure;
use super::reload::Prepare;
use super::say::note;
use super::server::Server;
use crate::admin::{
    self, Admin, AnalysisSettings, AuditSettings, BlockChange, Certificate, Places, Shards, Tell,
    Terms, Token,
};
use crate::config::{self, Settings};
use crate::flow::Transport;
use crate::reactor::Clock;
use crate::shield::ShieldDesk;
use crate::store::blocks::{BlockStore, Change};
use crate::store::history::HistoryDesk;
use crate::time::UnixTime;

/// The directory of the audit below that of the data.
const AUDIT: &str = "audit";

/// The variable of the environment that has the token.
pub(super) const TOKEN_VARIABLE: &str = "AORTA_ADMIN_TOKEN";

/// What the interface starts with, if there is to be one; `token` is the command line's.
///
/// # Errors
/// One line with what is wrong with the token, or that one is needed.
pub fn settings(
    settings: &Settings,
    token: Option<&str>,
    data: Option<&Path>,
) -> Result<Option<admin::Settings>, Failure> {
    let serve = &settings.serve;
    let Some(listen) = serve.admin else {
        if token.is_some() {
            return Err(Failure::new("--admin-token: there is no --admin that it would open"));
        }
        return Ok(None);
    };
    let token = match (token, std::env::var(TOKEN_VARIABLE), &serve.admin_token_file) {
        (Some(text), ..) => Some(Token::new(text).map_err(|error| wrong("--admin-token", &error))?),
        (None, Ok(text), _) => {
            Some(Token::new(&text).map_err(|error| wrong(TOKEN_VARIABLE, &error))?)
        }
        (None, Err(_), Some(file)) => {
            let text = read_token(file)?;
            let name = file.display().to_string();
            Some(Token::new(&text).map_err(|error| wrong(&name, &error))?)
        }
        (None, Err(_), None) => None,
    };
    if token.as_ref().is_some_and(Token::is_short) {
        note("the token of the admin interface is shorter than 16 characters");
    }
    let started = Clock::start().now().wall;
    let of = &settings.admin;
    let audit = AuditSettings {
        directory: data.map(|data| data.join(AUDIT)),
        file_bytes: of.audit_bytes.into(),
        files: of.audit_files.into(),
    };
    let data = data.map(Path::to_owned);
    let (policy, certificate) = (policy(of), certificate(of)?);
    let places = Places::open(&settings.analysis.databases)
        .map_err(|error| Failure::new(error.to_string()))?;
    admin::check_webhook(&settings.analysis.alerts).map_err(Failure::new)?;
    let analysis = AnalysisSettings { terms: terms(settings), places };
    let all = admin::Settings::new(listen, started);
    Ok(Some(admin::Settings { token, data, audit, policy, certificate, analysis, ..all }))
}

/// What it shows, if it is to show anything.
fn certificate(of: &config::Admin) -> Result<Option<Certificate>, Failure> {
    let (Some(certificate), Some(key)) = (&of.certificate, &of.key) else { return Ok(None) };
    Certificate::load(certificate, key).map(Some).map_err(Failure::new)
}

/// What the analysis obeys.
fn terms(settings: &Settings) -> Terms {
    let is_connection = |at: &config::Listen| at.transport.is_connection();
    let takes_connections = settings.serve.listen.iter().any(is_connection);
    Terms {
        analysis: settings.analysis.clone(),
        bindings_max: settings.registrar.total_max,
        connections_max: takes_connections.then_some(settings.streams.connections_max),
        trusted: settings.guard.trusted.clone(),
    }
}

/// What holds for whoever comes.
fn policy(of: &config::Admin) -> admin::Policy {
    admin::Policy {
        allow: of.allow.clone(),
        session_idle_s: of.session_idle_s,
        session_max_s: of.session_max_s,
        password_min: of.password_min,
        login_failures: of.login_failures,
    }
}

fn wrong(place: &str, error: &admin::TokenError) -> Failure {
    Failure::new(format!("{place}: {error}"))
}

/// The token a file holds, without the line end behind it.
///
/// # Errors
/// One line with what is wrong.
pub(super) fn read_token(file: &Path) -> Result<String, Failure> {
    let failed =
        |error| Failure::new(format!("cannot read the token in {}: {error}", file.display()));
    let text = fs::read_to_string(file).map_err(failed)?;
    let mode = fs::metadata(file).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        note(format_args!("{}: others on this host can read the token in it", file.display()));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Has it obey what a reload reads. Databases that were not named before are read here too, so that
/// the reload says what is wrong with them.
pub fn prepare(reins: admin::Reins) -> Prepare {
    Box::new(move |settings| {
        let (reins, policy, terms) = (reins.clone(), policy(&settings.admin), terms(settings));
        let files = &terms.analysis.databases;
        admin::check_webhook(&terms.analysis.alerts).map_err(Failure::new)?;
        let places = reins.places(files).map_err(|error| Failure::new(error.to_string()))?;
        let certificate = certificate(&settings.admin)?;
        Ok(Box::new(move || {
            reins.obey(policy);
            reins.analyse(terms, places);
            if let Some(certificate) = certificate
                && !reins.present(certificate)
            {
                note("admin.certificate: the interface speaks TLS from the next start");
            }
        }))
    })
}

/// Has operators' blocks kept in a store.
fn keep_blocks(blocks: &Arc<BlockStore>) -> admin::Keep {
    let (blocks, clock) = (Arc::clone(blocks), Clock::start());
    Box::new(move |source, change, kept| {
        let now = clock.now().wall;
        let change = match change {
            BlockChange::Blocked(for_s) => {
                let until = for_s.map(|for_s| UnixTime(now.0 + u64::from(for_s)));
                Change::Block(source, until)
            }
            BlockChange::Lifted => Change::Lift(source),
        };
        blocks.keep(now, change, kept);
    })
}

/// Starts the interface in front of a server that serves.
///
/// # Errors
/// One line with what is wrong.
pub fn start(
    settings: admin::Settings,
    server: &Server,
    shield: ShieldDesk,
    history: Option<HistoryDesk>,
) -> Result<Admin, Failure> {
    let datagrams = server.listening().filter(|(transport, _)| *transport == Transport::Udp);
    let meter = server.running.meter();
    let timed = meter.clone();
    let shards = Shards::new(
        server.running.controllers().to_vec(),
        move || meter.counters(),
        datagrams.map(|(_, address)| address).collect(),
    )
    .with_service_times(move || timed.service_times())
    .with_shield(shield);
    let shards = match history {
        Some(history) => shards.with_history(history),
        None => shards,
    };
    let (listen, secure) = (settings.listen, settings.certificate.is_some());
    let told: Tell = Arc::new(|line: &str| note(line));
    let keep = server.blocks.as_ref().map(keep_blocks);
    let started = Admin::start(settings, shards, told, keep)
        .map_err(|error| Failure::new(error.to_string()))?;
    if started.is_open() {
        note("the admin interface asks nobody on this host for a token");
    }
    if !listen.ip().is_loopback() && !secure {
        note(
            "the admin interface is plain HTTP: whoever can listen on the way reads what opens it",
        );
    }
    Ok(started)
}
