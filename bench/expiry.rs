//! A million bindings that nobody refreshes: what each costs on its way out, and how long the
//! longest turn of the loop is when they all end at once, or spread over a minute.

// A stopwatch reads the clock.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant as Clock};

use aorta::config::Registrar as Config;
use aorta::limits::EXPIRIES_PER_TURN_MAX;
use aorta::registrar::{AorId, Contacts, Register, Registrar};
use aorta::sip::header::contact::Contact;
use aorta::sip::uri::Uri;
use aorta::time::{Instant, Now};

const BINDINGS: u32 = 1_000_000;

/// A registrar with `BINDINGS` bindings, registered over `spread` at random.
fn fill(spread: Duration) -> (Registrar, Now) {
    let config = Config { expires_spread_percent: 0, ..Config::default() };
    let mut registrar = Registrar::new(config, [7, 8]);
    registrar.reserve(BINDINGS as usize, BINDINGS as usize);
    let mut events = Vec::new();
    let origin = Now { mono: Instant::from_secs(1000), ..Now::default() };
    for number in 0..u64::from(BINDINGS) {
        let aor = (number * 611_953 % u64::from(BINDINGS)) as u32;
        let contact = format!("sip:u{aor:06}@10.0.0.1:5060;transport=udp");
        let call_id = format!("{aor:08x}-0000-4b1e-9d0c-5a77c0ffee42");
        let uri = Uri::parse(contact.as_bytes()).expect("a good URI");
        let instance = Some(&b"<urn:uuid:00000000-0000-4000-8000-000a95a0e128>"[..]);
        let contacts =
            [Contact { uri, q: None, expires: None, instance, reg_id: None, params: b"" }];
        let request = Register {
            aor: AorId(aor),
            call_id: call_id.as_bytes(),
            cseq: 1,
            contacts: Contacts::List(&contacts),
            expires: Some(3600),
            user_agent: b"Acme Phone 5.12 (release)",
            source: ([198, 51, 100, 7], 40_000).into(),
            fingerprint: number + 1,
            ..Register::default()
        };
        let now = origin.after(spread.mul_f64(number as f64 / f64::from(BINDINGS)));
        events.clear();
        registrar.register(now, &request, &mut events).expect("accepted");
    }
    (registrar, origin)
}

fn run(name: &str, spread: Duration, step: Duration) {
    let (mut registrar, origin) = fill(spread);
    let mut now = origin.after(Duration::from_secs(3590));
    let mut total = Duration::ZERO;
    let mut turns = Vec::new();
    let mut events = Vec::with_capacity(EXPIRIES_PER_TURN_MAX);
    while registrar.location().bindings_count() > 0 {
        let start = Clock::now();
        let expired = registrar.expire(now, EXPIRIES_PER_TURN_MAX, &mut events);
        let turn = start.elapsed();
        // Whoever hears of a departure frees its strings: that counts too, but not for the turn.
        let start = Clock::now();
        events.clear();
        total += turn + start.elapsed();
        turns.push(turn);
        if !expired.more {
            now = now.after(step);
        }
    }
    let each = total.as_nanos() as f64 / f64::from(BINDINGS);
    turns.sort_unstable();
    let us = |turn: Duration| turn.as_nanos() as f64 / 1000.0;
    let (p99, longest) = (us(turns[turns.len() * 99 / 100]), us(turns[turns.len() - 1]));
    let count = turns.len();
    println!(
        "{name:<24} {each:>7.1} ns each, {count} turns, p99 {p99:.1} us, longest {longest:.1} us"
    );
    assert_eq!(registrar.next_deadline(), None);
}

fn main() {
    run("all in one second", Duration::ZERO, Duration::from_millis(10));
    run("spread over a minute", Duration::from_secs(60), Duration::from_millis(10));
    run("after a day asleep", Duration::from_secs(60), Duration::from_secs(86_400));
}
