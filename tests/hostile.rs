//! Mutated messages through parser and shards, as many as `HOSTILE_MESSAGES` says, made from
//! `HOSTILE_SEED`: never a panic, never an answer to what must not be answered, no binding changed
//! without its password, memory flat. The checks are those of the fuzz targets (`fuzz/checks`).

#[path = "fuzz/checks/mod.rs"]
mod checks;
mod common;
#[path = "hostile/cost.rs"]
mod cost;
#[path = "hostile/crowd.rs"]
mod crowd;
#[path = "hostile/memory.rs"]
mod memory;
#[path = "hostile/mutate.rs"]
mod mutate;
#[path = "hostile/pool.rs"]
mod pool;
#[path = "hostile/rng.rs"]
mod rng;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use aorta::config::{KeepaliveMessage, Nat};
use aorta::limits::{AGENTS_MAX, BATCH_MAX};
use aorta::shard::Handled;
use aorta::sip::header::contact::Contacts;
use aorta::sip::header::via;
use aorta::sip::{Framing, HeaderName, HeaderTable, Parsed, parse};
use checks::shard::{Digests, check_state, give};
use common::batch;
use common::cluster::{Cluster, Options};
use common::{Phone, Response};
use memory::held;
use mutate::mutate;
use pool::{Pool, REGISTERS, options};
use rng::Rng;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Messages of a run that nobody asked more of.
const MESSAGES_DEFAULT: u64 = 12_000;

/// Bytes that may be held more at the end than after the first quarter: accounts hold more or
/// fewer bindings, messages are longer or shorter.
const GROWTH_BYTES_MAX: isize = 32 * 1024;

/// In a run of fewer messages than these, tables are still filling after the first quarter: what is
/// held comes closer to its end the longer the run, and may grow by so much more.
const MESSAGES_OF_A_LONG_RUN: u64 = 1_000_000;
const FILLING_BYTES_MAX: isize = 128 * 1024;

/// Mutated User-Agents fill the table of those that phones share, which is bounded and is not full
/// after the first quarter of any run: so many bytes for each of its places.
const AGENTS_BYTES_MAX: isize = AGENTS_MAX as isize * 64;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    let digits = text.replace('_', "");
    Some(digits.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// What a run saw.
#[derive(Default)]
struct Seen {
    answers: BTreeMap<u16, u64>,
    silences: u64,
    held_after_quarter: isize,
    held_at_end: isize,
    accepted_percent: u64,
}

/// Says which message it was when one of the assertions ends the thread.
struct Place {
    seed: u64,
    shards: u8,
    message: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if thread::panicking() {
            let Place { seed, shards, message } = self;
            eprintln!("message {message} at {shards} shards; again by HOSTILE_SEED={seed}");
        }
    }
}

fn run(seed: u64, shards: u8, messages: u64) -> Seen {
    let mut place = Place { seed, shards, message: 0 };
    let mut rng = Rng::new(seed ^ u64::from(shards) << 56);
    let options = options(shards);
    let mut cluster = Cluster::new(&options);
    let mut digests = Digests::new(2 * REGISTERS);
    let mut pool = Pool::new(&mut rng, &mut cluster, &mut digests);
    let mut seen = Seen::default();
    // One vector each, as long as they get, so that they are no growth.
    let mut message = Vec::with_capacity(1 << 18);
    while place.message < messages {
        place.message += 1;
        if rng.once_in(8) {
            pool.renew(&mut rng, &mut cluster, &mut digests);
        }
        if place.message.is_multiple_of(1000) {
            cluster.pass(Duration::from_secs(1 + rng.next() % 3));
            check_state(&cluster, &options);
        }
        let from = rng.below(pool.messages.len());
        message.clear();
        message.extend_from_slice(&pool.messages[from]);
        mutate(&mut rng, &mut message, &pool.messages);

        checks::parse::check_datagram(&message);
        checks::parse::check_stream(&message, [rng.below(message.len() + 1)]);
        checks::parse::check_frames(&message, [rng.below(message.len() + 1)]);
        let source = if rng.once_in(4) { any_source(&mut rng) } else { pool.homes[from] };
        match give(&mut cluster, &mut digests, rng.below(8), source, &message) {
            None => seen.silences += 1,
            Some(sent) => {
                let status = sent.bytes[8..11].iter().fold(0, |n, &b| n * 10 + u16::from(b - b'0'));
                *seen.answers.entry(status).or_default() += 1;
            }
        }
        if place.message == messages / 4 {
            seen.held_after_quarter = held();
        }
    }
    seen.held_at_end = held();
    seen.accepted_percent = 100 * pool.accepted / pool.registers.max(1);
    seen
}

/// Any address of any network, IPv4, IPv6 or the one inside the other.
fn any_source(rng: &mut Rng) -> SocketAddr {
    let bits = rng.next();
    let (ip, port) = (bits as u32, (bits >> 32) as u16);
    match bits >> 62 {
        0 => (std::net::Ipv6Addr::from(u128::from(bits) << 64 | u128::from(ip)), port).into(),
        1 => (std::net::Ipv4Addr::from(ip).to_ipv6_mapped(), port).into(),
        _ => (std::net::Ipv4Addr::from(ip), port).into(),
    }
}

#[test]
fn mutated_messages_are_borne_by_parser_and_shards() {
    let messages = number("HOSTILE_MESSAGES").unwrap_or(MESSAGES_DEFAULT);
    let seed = number("HOSTILE_SEED").unwrap_or(1);
    let runs =
        [1, 3].map(|shards| (shards, thread::spawn(move || run(seed, shards, messages / 2))));
    for (shards, run) in runs {
        let seen = run.join().expect("a run without a fault");
        let Seen { answers, silences, accepted_percent, .. } = &seen;
        println!(
            "{shards} shards: {answers:?}, silent {silences}, accepted {accepted_percent} %, \
             held {} and {}",
            seen.held_after_quarter, seen.held_at_end
        );
        // A run that meets no more than one refusal, or no success, shows nothing.
        for status in [200, 400, 401, 403, 404, 405, 416, 420, 481, 501, 505] {
            assert!(answers.contains_key(&status), "{shards} shards: never {status}: {answers:?}");
        }
        assert!(*silences > 0);
        assert!(*accepted_percent >= 60, "phones are refused: {accepted_percent} % accepted");
        let growth = seen.held_at_end - seen.held_after_quarter;
        let filling = if messages < MESSAGES_OF_A_LONG_RUN { FILLING_BYTES_MAX } else { 0 };
        let most = GROWTH_BYTES_MAX + AGENTS_BYTES_MAX + filling;
        assert!(growth <= most, "{shards} shards hold {growth} bytes more");
    }
}

/// Two clusters get the same messages, mutated ones among good ones, one of them in batches: each
/// answer, event and counter is the same, on the shard that received them and on the owners.
#[test]
fn mutated_messages_in_batches_are_answered_as_one_by_one() {
    let messages = number("HOSTILE_MESSAGES").unwrap_or(MESSAGES_DEFAULT) / 4;
    let seed = number("HOSTILE_SEED").unwrap_or(1);
    for shards in [1, 3] {
        let mut place = Place { seed, shards, message: 0 };
        let mut rng = Rng::new(seed ^ u64::from(shards) << 48);
        // When a keepalive is due follows from who was there when its turn was chosen: that differs
        // where somebody came and went within one batch.
        let nat = Nat { message: KeepaliveMessage::Off, ..Nat::default() };
        let options = Options { nat, ..options(shards) };
        // The phones are challenged by a cluster of their own; its nonces are good at the others.
        let [mut home, mut single, mut batched] = [(); 3].map(|()| Cluster::new(&options));
        let mut digests = Digests::new(2 * REGISTERS);
        let mut pool = Pool::new(&mut rng, &mut home, &mut digests);
        let (mut accepted, mut handed) = (0, 0);
        while place.message < messages / 2 {
            let count = 1 + rng.below(BATCH_MAX + 8);
            let mut sent = Vec::with_capacity(count);
            for _ in 0..count {
                pool.renew(&mut rng, &mut home, &mut digests);
                let from = rng.below(pool.messages.len());
                let mut message = pool.messages[from].clone();
                if rng.once_in(2) {
                    mutate(&mut rng, &mut message, &pool.messages);
                }
                let source = if rng.once_in(4) { any_source(&mut rng) } else { pool.homes[from] };
                sent.push((source, message));
            }
            place.message += count as u64;
            let one = batch::give(&mut single, 0, &sent, false, 1);
            let all = batch::give(&mut batched, 0, &sent, false, count);
            let is_ok = |bytes: &[u8]| bytes.starts_with(b"SIP/2.0 200 ");
            accepted += all.handled.iter().filter(|(_, bytes)| is_ok(bytes)).count();
            assert_eq!(one, all);
            for owner in 1..usize::from(shards) {
                let sent = batch::handed_over(&all, &sent, owner);
                handed += sent.len();
                let one = batch::give(&mut single, owner, &sent, true, 1);
                let all = batch::give(&mut batched, owner, &sent, true, count);
                assert_eq!(one, all);
                let again = |(handled, _): &(Handled, _)| matches!(handled, Handled::Handoff(_));
                assert!(!all.handled.iter().any(again));
            }
            for (one, all) in single.shards.iter().zip(&batched.shards) {
                assert_eq!(one.counters(), all.counters());
            }
            for cluster in [&mut home, &mut single, &mut batched] {
                cluster.pass(Duration::from_millis(500));
            }
            check_state(&batched, &options);
        }
        println!("{shards} shards: {accepted} accepted at the first, {handed} handed over");
        assert!(accepted > 0 && (handed > 0) == (shards > 1));
    }
}

/// Guards under steps drawn at random, what a fuzz target looks for from seeds.
#[test]
fn guards_keep_their_word_whatever_is_done_to_them() {
    let mut rng = Rng::new(20_261_121);
    for _ in 0..80 {
        let steps: Vec<u8> = (0..1025).map(|_| rng.next() as u8).collect();
        checks::guard::check(&steps);
    }
}

/// As many as `HOSTILE_SOURCES` says.
#[test]
fn a_crowd_of_sources_takes_no_memory() {
    let count = number("HOSTILE_SOURCES").unwrap_or(200_000);
    crowd::sources(count.try_into().expect("fewer than there are addresses"));
}

/// As many as `HOSTILE_FAILURES` says.
#[test]
fn a_crowd_of_failures_takes_no_memory() {
    let count = number("HOSTILE_FAILURES").unwrap_or(20_000);
    crowd::failures(count.try_into().expect("fewer than there are addresses"));
}

/// Everything a fuzz target begins with, through its own check.
#[test]
fn the_seeds_of_the_fuzz_targets_are_borne() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    type Check = fn(&[u8]);
    let targets: [(&str, Check, &str); 8] = [
        ("parse", checks::parse::check, "torture"),
        ("shard", checks::shard::check, "torture"),
        ("uri", checks::uri::check, "fuzz/seeds/uri"),
        ("credentials", checks::credentials::check, "fuzz/seeds/credentials"),
        ("shard", checks::shard::check, "fuzz/seeds/shard"),
        ("config", checks::config::check, "fuzz/seeds/config"),
        ("guard", checks::guard::check, "fuzz/seeds/guard"),
        ("subscribers", checks::subscribers::check, "fuzz/seeds/subscribers"),
    ];
    for (target, check, seeds) in targets {
        let mut count = 0;
        for entry in fs::read_dir(tests.join(seeds)).expect("seeds") {
            let path = entry.expect("a seed").path();
            println!("{target}: {}", path.display());
            check(&fs::read(path).expect("a readable seed"));
            count += 1;
        }
        assert!(count > 0, "{target} has no seeds");
    }
}

/// CPU time of this thread: what others do on the machine is not in it.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn once(work: impl FnOnce()) -> Duration {
    let begun = cpu_time();
    work();
    cpu_time() - begun
}

/// The least of several times that `work` takes: what the machine does besides only adds.
fn least(mut work: impl FnMut()) -> Duration {
    (0..9).map(|_| once(&mut work)).min().expect("several")
}

/// Every view, also those that only an authenticated request is read by.
fn read_everything(bytes: &[u8]) {
    let mut table = HeaderTable::new();
    let (Parsed::Complete { message, .. } | Parsed::Invalid { message: Some(message), .. }) =
        parse(bytes, Framing::Datagram, &mut table)
    else {
        return;
    };
    let mut contacts = Contacts::new();
    black_box((message.contacts(&mut contacts).is_ok(), message.check_request().is_ok()));
    black_box(via::all(message.all(HeaderName::Via)).count());
    black_box(message.credentials(HeaderName::Authorization, b"example.com").is_ok());
    for name in [HeaderName::Require, HeaderName::Supported] {
        black_box(message.option_tags(name).is_ok());
    }
    for name in [HeaderName::Path, HeaderName::Route] {
        black_box(message.routes(name).is_ok());
    }
}

#[test]
fn the_cost_of_a_message_grows_with_its_length_not_with_the_square_of_it() {
    const LENGTHS: [usize; 2] = [4_000, 64_000];
    // The square would be 256 times as much; twice the length's share is left for the noise.
    const RATIO_MAX: u32 = 32;
    // Below that nothing can be told.
    const FLOOR: Duration = Duration::from_micros(3);
    let mut cluster = Cluster::new(&options(1));
    let source = "192.0.2.1:5060".parse().expect("an address");
    for (name, member) in cost::FAMILIES {
        let [short, long] = LENGTHS.map(|len| {
            let message = member(len);
            assert!((len..65_536).contains(&(message.len() + 4)), "{name}: {}", message.len());
            least(|| {
                drop(cluster.give(0, source, &message));
                read_everything(&message);
            })
        });
        println!("{name}: {short:?}, {long:?}");
        assert!(long <= short.max(FLOOR) * RATIO_MAX, "{name}: {short:?}, then {long:?}");
    }
}

/// The dearest request an account can make: all Contacts that one may have against all bindings
/// that an account may hold, their URIs alike but for the last of `params` parameters. Gives the
/// time of the last, when all bindings are there, and its status.
fn dearest_register(params: usize) -> (Duration, u16) {
    const CONTACTS: usize = 16;
    const REQUESTS: usize = 4;
    let mut options = options(1);
    options.registrar.bindings_max = (CONTACTS * REQUESTS) as u8;
    let mut cluster = Cluster::new(&options);
    let source = "192.0.2.1:5060".parse().expect("an address");
    let mut phone = Phone::new(1, "dear", "192.0.2.1:5060");
    let challenge = cluster.ask(0, source, &phone.register(60)).expect("a challenge");
    assert!(phone.take_challenge(&challenge));
    let (mut took, mut status) = (Duration::ZERO, 0);
    for request in 0..REQUESTS {
        let contacts: Vec<String> = (0..CONTACTS)
            .map(|nth| format!("<sip:a@h{};z={}>", cost::names(params), request * CONTACTS + nth))
            .collect();
        let request = phone.request(&[("Contact", &contacts.join(", "))]);
        let mut answer = None;
        took = once(|| answer = cluster.give(0, source, request.as_bytes()));
        status = Response::parse(&answer.expect("an answer").bytes).status;
    }
    (took, status)
}

#[test]
fn the_dearest_register_is_bounded_by_the_parameters_of_a_uri() {
    const MOST: usize = aorta::limits::URI_PARAMS_MAX - 1;
    // Measured: some 60 where nothing is optimised, where 120 parameters made it 600.
    const RATIO_MAX: u32 = 240;
    let dear = |params| (0..5).map(|_| dearest_register(params)).min().expect("several");
    let ((plain, _), (dearest, status)) = (dear(0), dear(MOST));
    println!("plain {plain:?}, dearest {dearest:?}");
    assert_eq!(status, 200);
    assert!(dearest <= plain * RATIO_MAX, "{plain:?}, then {dearest:?}");
    assert_eq!(dearest_register(MOST + 1).1, 400);
}
