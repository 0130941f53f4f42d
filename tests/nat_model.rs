//! The built server against phones behind modelled NATs: what holds their pinholes, over more than
//! two periods. What the model says is checked by a NAT of the kernel's in `nat_namespaces`.

// The shell's clock is allowed here: pinholes close in real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/serve.rs"]
mod serve;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aorta_load::Roster;
use aorta_load::nat::{Choice, NatOptions, NatOutcome, Refresh, report, run};
use serve::{FinalCounters, Server};

const PHONES: u32 = 200;
/// The shortest period there is.
const PERIOD: &str = "nat.keepalive_period=10";
/// Nothing is kept alive so long by what comes later than its period; a machine with much to do
/// has a second.
const TIMEOUT: Duration = Duration::from_secs(11);
/// More than two periods.
const RUN: Duration = Duration::from_secs(23);

/// Phones behind NATs against a server with these settings. Nothing may be lost, and the server
/// must have seen every phone behind its NAT.
fn ran(settings: &[&str], change: impl Fn(&mut NatOptions)) -> Option<NatOutcome> {
    let mut arguments = vec!["--listen", "udp:127.0.0.1:0", "--reactors", "2"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let server = Server::start(&arguments)?;
    let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, PHONES).expect("good names");
    let mut options = NatOptions::new(server.target(), roster);
    options.timeout = TIMEOUT;
    options.period = Duration::from_secs(10);
    options.run.duration = RUN;
    options.ports = Choice::Mixed;
    change(&mut options);
    let outcome = run(&options, &AtomicBool::new(false), &mut |_| {}).expect("it can run");
    let counters: FinalCounters = server.stop();
    assert!(outcome.run.is_clean(), "{}", report::table(&outcome));
    assert!(counters.of("behind_nat") >= u64::from(PHONES), "{counters:#?}");
    assert_eq!(outcome.figures.unregistered, 0, "{}", report::table(&outcome));
    assert_eq!(outcome.figures.to_nobody, 0, "{}", report::table(&outcome));
    Some(outcome)
}

#[test]
fn hello_holds_every_pinhole_that_packets_in_both_directions_hold() {
    let Some(outcome) = ran(&[PERIOD], |_| {}) else { return };
    let (sum, told) = (outcome.figures.sum(), report::table(&outcome));
    assert!(outcome.is_clean(), "{told}");
    assert_eq!((sum.closings, sum.unreachable), (0, 0), "{told}");
    assert!(sum.pings >= 2 * u64::from(PHONES), "{told}");
    // Each gets one a period, or a little more often, and nobody gets a burst.
    assert!(sum.pings <= 4 * u64::from(PHONES), "{told}");
}

#[test]
fn options_that_are_answered_hold_pinholes_that_only_outbound_packets_hold() {
    let settings = [PERIOD, "nat.keepalive_message=OPTIONS"];
    let outbound = |options: &mut NatOptions| options.refresh = Choice::Only(Refresh::Outbound);
    let Some(outcome) = ran(&settings, outbound) else { return };
    let told = report::table(&outcome);
    assert!(outcome.is_clean(), "{told}");
    assert_eq!(outcome.figures.sum().closings, 0, "{told}");
    assert!(outcome.run.tally.options_answered >= 2 * u64::from(PHONES), "{told}");
}

#[test]
fn without_keepalives_every_pinhole_closes_and_nobody_can_be_called() {
    let off = |options: &mut NatOptions| {
        options.timeout = Duration::from_millis(500);
        options.run.duration = Duration::from_secs(1);
    };
    let Some(outcome) = ran(&["nat.keepalive_message="], off) else { return };
    let (sum, told) = (outcome.figures.sum(), report::table(&outcome));
    assert_eq!(sum.pings, 0, "{told}");
    assert_eq!((sum.closed_phones, sum.unreachable), (200, 200), "{told}");
    assert!(!outcome.is_clean(), "{told}");
}
