//! A refresh taken apart: each stage runs over a whole batch of messages and is timed alone, on
//! tables of its own. Run like this, the cache misses of a batch overlap, which they do not where
//! one message is handled after the other: what the whole costs beyond the sum of the stages is
//! what fetching ahead across the batch could win.

use std::time::{Duration, Instant as Clock};

use aorta::auth::{
    AccountId, Accounts, AorKey, Check, Ha1s, Ha2Cache, NonceSequence, Verdict, authenticate,
};
use aorta::config::{Algorithms, Registrar as Config};
use aorta::limits::{AOR_BYTES_MAX, BATCH_MAX, RESPONSE_BYTES_MAX};
use aorta::registrar::aor::Aor;
use aorta::registrar::{AorId, Contacts, Register, Registrar};
use aorta::shard::owner::Ownership;
use aorta::sip::header::contact;
use aorta::sip::write::{ContactLine, Responder};
use aorta::sip::{Framing, HeaderName, HeaderTable, Parsed, parse};
use aorta::time::{Instant, Now, UnixTime};

use super::figures::per_message;
use super::in_process::LIMITS_NS;
use super::phones::{Ask, DOMAIN, Phones, REALM};
use super::set_up::keys;

const LIFETIME_S: u32 = 3600;

/// Times of one stage, batch by batch.
#[derive(Default)]
struct Stage(Vec<Duration>);

impl Stage {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Clock::now();
        let done = work();
        self.0.push(start.elapsed());
        done
    }
}

/// Measures every stage of a refresh and prints each beside its limit.
pub fn run(count: usize, batches: usize) {
    println!("\nstages of a refresh, one message");
    let (keys, ownership) = (keys(), Ownership::new([5; 16], 1));
    let mut now =
        Now { mono: Instant::from_secs(100), wall: UnixTime(1_800_000_000), ..Now::default() };
    let mut accounts = Accounts::new();
    accounts.reserve(count);
    let mut phones = Phones::new(count);
    let mut sequence = NonceSequence::default();
    for number in 1..=count {
        let aor = format!("u{number}@{DOMAIN}");
        let ha1s = Ha1s::from_password(&aor, &format!("p{number}"), false);
        let key = AorKey(ownership.hash(aor.as_bytes()));
        accounts.insert(key, aor.as_bytes(), &ha1s).expect("distinct names");
        let place = sequence.next(now.wall, now.wall_us);
        phones.give(number - 1, keys.nonce.mint(place, Phones::source().ip(), REALM));
    }
    let mut registrar = Registrar::new(Config::default(), keys.spread);
    registrar.reserve(count, count);
    let mut ha2s = Ha2Cache::new();
    let mut events = Vec::with_capacity(2 * BATCH_MAX);
    let mut requests = vec![Vec::new(); BATCH_MAX];
    let mut tables: Vec<HeaderTable> = (0..BATCH_MAX).map(|_| HeaderTable::new()).collect();
    let mut out = vec![0; RESPONSE_BYTES_MAX];
    let [mut parsing, mut reading, mut finding, mut judging, mut checking, mut core, mut writing] =
        std::array::from_fn(|_| Stage::default());

    for _ in 0..batches {
        now = now.after(Duration::from_micros(50));
        for request in &mut requests {
            let phone = phones.random();
            phones.write(phone, Ask::Refresh, request);
        }
        let messages: Vec<_> = parsing.time(|| {
            let parsed = requests.iter().zip(&mut tables).map(|(bytes, table)| {
                match parse(bytes, Framing::Datagram, table) {
                    Parsed::Complete { message, .. } => message,
                    _ => panic!("a good message"),
                }
            });
            parsed.collect()
        });
        let read: Vec<_> = reading.time(|| {
            let read = messages.iter().map(|message| {
                let head = message.check_request().expect("a good head");
                let credentials = message.credentials(HeaderName::Authorization, REALM);
                let credentials = credentials.expect("well formed").expect("of this realm");
                let mut contacts = contact::Contacts::new();
                message.contacts(&mut contacts).expect("a good contact");
                (head, credentials, contacts)
            });
            read.collect()
        });
        let mut buffers = [[0; AOR_BYTES_MAX]; BATCH_MAX];
        let found: Vec<(Aor<'_>, AccountId)> = finding.time(|| {
            let found = read.iter().zip(&mut buffers).map(|((head, ..), buffer)| {
                let aor = Aor::from_uri(&head.to.uri, buffer).expect("an address-of-record");
                let key = AorKey(ownership.hash(aor.text()));
                let id = accounts.find(key, aor.text()).expect("an account");
                (aor, id)
            });
            found.collect()
        });
        let source = Phones::source();
        let judged: Vec<_> = judging.time(|| {
            let judge = |nonce| keys.nonce.judge(nonce, now.wall, source.ip(), REALM, LIFETIME_S);
            read.iter().map(|(_, credentials, _)| judge(credentials.nonce)).collect()
        });
        checking.time(|| {
            for (((_, credentials, _), (aor, account)), &nonce) in
                read.iter().zip(&found).zip(&judged)
            {
                let check = Check {
                    credentials,
                    method: b"REGISTER",
                    aor: aor.text(),
                    realm: REALM,
                    offered: Algorithms::MD5,
                    nonce,
                    nonce_lifetime_s: LIFETIME_S,
                    bindings_max: 1,
                    now: now.wall,
                };
                let verdict = authenticate(&check, &mut accounts, Some(*account), &mut ha2s);
                assert_eq!(verdict, Verdict::Accepted);
            }
        });
        events.clear();
        let accepted: Vec<_> = core.time(|| {
            let accepted = read.iter().zip(&found).map(|((head, _, contacts), (_, account))| {
                let request = Register {
                    aor: AorId(account.0),
                    call_id: head.call_id,
                    cseq: head.cseq.number,
                    contacts: Contacts::List(contacts.as_slice()),
                    expires: Some(3600),
                    user_agent: b"Acme Phone 5.12 (release)",
                    source,
                    fingerprint: u64::from(head.cseq.number) << 32 | u64::from(account.0) | 1 << 63,
                    ..Register::default()
                };
                registrar.register(now, &request, &mut events).expect("accepted")
            });
            accepted.collect()
        });
        writing.time(|| {
            for ((message, (head, ..)), accepted) in messages.iter().zip(&read).zip(&accepted) {
                let responder = Responder::new(*message, head, source);
                let mut response = responder
                    .begin_with_phrase(&mut out, 200, &["OK"], b"0123456789abcdef")
                    .expect("room");
                for listed in registrar.answer(accepted) {
                    let instance = listed.instance.map(|instance| instance.text());
                    let line = ContactLine {
                        uri: listed.contact,
                        expires: listed.expires_s,
                        q: listed.q,
                        instance: instance.as_deref(),
                        reg_id: listed.reg_id,
                        pub_gruu: None,
                        temp_gruu: None,
                    };
                    response.contact(&line).expect("room");
                }
                std::hint::black_box(response.finish().expect("room"));
            }
        });
    }

    let [parse_ns, digest_ns, core_ns, write_ns] = LIMITS_NS.map(Some);
    let show = |name: &str, limit, stage: &Stage| per_message(name, limit, BATCH_MAX, &stage.0);
    let sum = show("one pass: lines and header table", parse_ns, &parsing)
        + show("head, credentials, contacts read", None, &reading)
        + show("address-of-record, hash, account", None, &finding)
        + show("nonce judged", None, &judging)
        + show("digest checked, nonce counted", digest_ns, &checking)
        + show("bindings: policy, update, timer", core_ns, &core)
        + show("200 written", write_ns, &writing);
    println!("  {:<44} {sum:>8.0} ns", "sum of the medians");
}
