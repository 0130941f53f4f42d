//! The guard as senders meet it, on one shard and on several: who is read, who is answered, who is
//! blocked. For each layer, the same attack with the layer switched off succeeds.

mod common;

#[path = "common/desk.rs"]
mod desk;

use std::net::{IpAddr, SocketAddr};

use aorta::config::{Guard, Network};
use aorta::flow::{ConnectionId, Transport};
use aorta::guard::events::Wanted;
use aorta::guard::{Kinds, SecurityKind, SecurityRecord};
use aorta::shard::blocks::{BlockItem, BlockPage};
use aorta::shard::control::{Control, Reply};
use aorta::shard::counters::DropReason;
use aorta::shard::events::EventsAsked;
use aorta::shard::{Link, Peer};

use common::cluster::Options;
use common::{Phone, Response};
use desk::{Desk, each_way, source};

fn from(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// A cluster under a guard, with the defaults but for small tables.
fn guarded(change: impl Fn(&mut Guard)) -> Options {
    let mut guard = Guard { sources_max: 1024, ..Guard::default() };
    change(&mut guard);
    Options { guard, accounts: 600, ..Options::default() }
}

/// Gives a request; what guards tell each other is carried.
fn give(desk: &mut Desk, from: SocketAddr, request: &str) -> Option<Response> {
    let sent = desk.send_from(from, request);
    desk.cluster.orders();
    sent.map(|sent| Response::parse(&sent.bytes))
}

fn status(desk: &mut Desk, from: SocketAddr, request: &str) -> Option<u16> {
    give(desk, from, request).map(|response| response.status)
}

fn phone(number: u32) -> Phone {
    Phone::new(number, "device", "device.test:5070")
}

/// A phone that is registered from `from`, however often it has to ask.
fn register(desk: &mut Desk, phone: &mut Phone, from: SocketAddr) -> Option<u16> {
    let mut last = None;
    for _ in 0..2 {
        last = give(desk, from, &phone.register(600));
        match &last {
            Some(response) if response.status == 401 => assert!(phone.take_challenge(response)),
            _ => break,
        }
    }
    last.map(|response| response.status)
}

/// A REGISTER without credentials for `user`, with this User-Agent.
fn ask(user: &str, agent: &str, number: usize) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP kit.test;branch=z9hG4bK{number};rport\r\n\
         From: <sip:{user}@example.com>;tag=1\r\nTo: <sip:{user}@example.com>\r\n\
         Call-ID: kit-{number}\r\nCSeq: 1 REGISTER\r\nUser-Agent: {agent}\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

fn options(agent: &str) -> String {
    ask("100", agent, 1).replace("REGISTER", "OPTIONS")
}

fn blocks(desk: &mut Desk) -> Vec<BlockItem> {
    let now = desk.cluster.now;
    let mut lists: Vec<Vec<BlockItem>> = Vec::new();
    for shard in &mut desk.cluster.shards {
        let (mut items, mut after) = (Vec::new(), None);
        loop {
            let Reply::Blocks(page) = shard.control(now, Control::Blocks(after)) else {
                panic!("a page")
            };
            let BlockPage { items: some, next, .. } = page;
            items.extend(some);
            after = next;
            if after.is_none() {
                break;
            }
        }
        lists.push(items);
    }
    for list in &lists {
        assert_eq!(*list, lists[0], "every shard has the same list");
    }
    lists.remove(0)
}

fn events(desk: &mut Desk, kind: SecurityKind) -> Vec<SecurityRecord> {
    let now = desk.cluster.now;
    let mut all = Vec::new();
    for shard in &mut desk.cluster.shards {
        let wanted = Wanted { kinds: Kinds::NONE.with(kind), ..Wanted::default() };
        let asked = EventsAsked { wanted, ..EventsAsked::default() };
        let order = Control::SecurityEvents(asked);
        let Reply::SecurityEvents(page) = shard.control(now, order) else { panic!("records") };
        all.extend(page.items);
    }
    all
}

#[test]
fn a_flood_of_one_source_is_cut_to_its_rate_and_without_limits_it_is_not() {
    each_way(&guarded(|_| {}), |desk| {
        let answered = (0..500)
            .filter(|&nth| status(desk, source(), &ask("u1", "kit", nth)) == Some(401))
            .count();
        // The burst, or a little more where several shards keep it together.
        assert!((10..=20).contains(&answered), "{answered} answered");
        let silent = desk.counters().dropped(DropReason::SourceRate);
        assert_eq!(silent as usize, 500 - answered);
        assert!(!events(desk, SecurityKind::RateLimited).is_empty());
        // Somebody else does not notice.
        assert_eq!(register(desk, &mut phone(2), from("198.51.100.1", 5060)), Some(200));
    });
    let no_limits = guarded(|guard| (guard.rate_per_s, guard.register_rate_per_s) = (None, None));
    each_way(&no_limits, |desk| {
        assert!((0..500).all(|nth| status(desk, source(), &ask("u1", "kit", nth)) == Some(401)));
    });
}

#[test]
fn a_customer_whose_address_is_abused_refreshes_with_his_nonce() {
    each_way(&guarded(|_| {}), |desk| {
        let mut customer = phone(1);
        assert_eq!(register(desk, &mut customer, source()), Some(200));
        for nth in 0..500 {
            give(desk, SocketAddr::new(source().ip(), 1000 + nth as u16), &ask("u9", "kit", nth));
        }
        for _ in 0..10 {
            assert_eq!(status(desk, source(), &customer.register(600)), Some(200));
        }
        // A nonce that was made up, or given to another address, opens nothing.
        let mut thief = customer.clone();
        thief.challenge.as_mut().unwrap().nonce = "AAAAAAAAAAAAAAAAAAAA".to_owned();
        assert_eq!(status(desk, source(), &thief.register(600)), None);
    });
}

#[test]
fn an_office_of_500_phones_on_one_address_comes_back_after_a_power_cut() {
    each_way(&guarded(|_| {}), |desk| {
        let office = |number: u32| from("192.0.2.1", 10_000 + number as u16);
        // They came one by one.
        let mut phones: Vec<Phone> = (1..=500).map(phone).collect();
        for (phone, number) in phones.iter_mut().zip(1..) {
            assert_eq!(register(desk, phone, office(number)), Some(200));
            desk.pass(1);
        }
        desk.pass(86_400);
        // All have forgotten their nonces, and come within a moment.
        let mut late = 0;
        for (phone, number) in phones.iter_mut().zip(1..) {
            phone.challenge = None;
            late += u32::from(register(desk, phone, office(number)) != Some(200));
        }
        assert_eq!(late, 0, "of 500");
        assert_eq!(blocks(desk), []);
    });
}

/// It has a password and ten thousand machines.
#[test]
fn one_account_from_ten_thousand_sources_pushes_out_nobody() {
    let options =
        Options { accounts: 1001, shards: 3, ..guarded(|guard| guard.sources_max = 16_384) };
    let mut desk = Desk::at(common::cluster::Cluster::new(&options), 1);
    let home = |number: u32| from(&format!("10.{}.{}.1", number / 250, number % 250), 5060);
    let rented = |number: u32| from(&format!("64.{}.{}.9", number / 250, number % 250), 5060);
    let mut phones: Vec<Phone> = (1..=1000).map(phone).collect();
    for (phone, number) in phones.iter_mut().zip(0..) {
        assert_eq!(register(&mut desk, phone, home(number)), Some(200));
    }
    let mut rover = phone(1001);
    for number in 0..10_000 {
        rover.challenge = None;
        assert_eq!(register(&mut desk, &mut rover, rented(number)), Some(200));
    }
    for shard in &desk.cluster.shards {
        let guard = shard.guard();
        let homes = (0..1000).filter(|&number| guard.is_proven(home(number).ip())).count();
        assert_eq!(homes, 1000);
        let his = (0..10_000).filter(|&number| guard.is_proven(rented(number).ip())).count();
        assert_eq!(his, 16);
    }
}

/// What answers nothing, and what looks as if it answered a probe.
fn response(branch: &str) -> String {
    format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP sip.test;branch={branch}\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn responses_of_a_stranger_are_read_up_to_his_limit_and_without_limits_all_are() {
    let flood = |desk: &mut Desk| {
        (0..6000).for_each(|_| assert!(give(desk, source(), &response("z9hG4bK1")).is_none()));
        let counters = desk.counters();
        (counters.dropped(DropReason::StrayResponse), counters.dropped(DropReason::SourceRate))
    };
    each_way(&guarded(|_| {}), |desk| {
        let (read, unread) = flood(desk);
        // As many on each of three shards.
        assert!((500..=1500).contains(&read) && read + unread == 6000, "{read} and {unread}");
        // Line ends are a sign of life, and cost nothing.
        (0..1000).for_each(|_| assert!(give(desk, source(), "\r\n\r\n").is_none()));
        assert_eq!(desk.counters().dropped(DropReason::Keepalive), 1000);
    });
    let no_limits = guarded(|guard| (guard.rate_per_s, guard.register_rate_per_s) = (None, None));
    each_way(&no_limits, |desk| assert_eq!(flood(desk), (6000, 0)));
}

#[test]
fn an_office_of_500_phones_answers_500_requests_at_once_and_trusted_networks_without_end() {
    let options = guarded(|guard| guard.trusted = vec!["10.0.0.0/8".parse().unwrap()]);
    each_way(&options, |desk| {
        let office = |number: u32| from("192.0.2.1", 10_000 + number as u16);
        for number in 1..=500 {
            assert_eq!(register(desk, &mut phone(number), office(number)), Some(200));
            desk.pass(1);
        }
        // Each twice: the answer is lost, or sent again.
        for number in (1..=500).chain(1..=500) {
            give(desk, office(number), &response("z9hG4bK1"));
        }
        for ip in ["10.1.2.3", "127.0.0.1"] {
            (0..5000).for_each(|_| _ = give(desk, from(ip, 5060), &response("z9hG4bK1")));
        }
        assert_eq!(desk.counters().dropped(DropReason::StrayResponse), 11_000);
        assert_eq!(desk.counters().dropped(DropReason::SourceRate), 0);
    });
}

#[test]
fn whoever_forges_the_responses_of_somebody_keeps_none_of_his_answers_out() {
    each_way(&guarded(|_| {}), |desk| {
        let (customer, guest) = (source(), from("198.51.100.1", 5060));
        assert_eq!(register(desk, &mut phone(1), customer), Some(200));
        for from in [customer, guest] {
            (0..6000).for_each(|_| _ = give(desk, from, &response("z9hG4bK1")));
        }
        let unread = desk.counters().dropped(DropReason::SourceRate);
        assert!(unread > 6000, "{unread}");
        for branch in ["z9hG4bK-op-000000000a0000000b00000000000000ab", "z9hG4bK-re-00"] {
            give(desk, customer, &response(branch));
            give(desk, guest, &response(branch));
        }
        assert_eq!(desk.counters().dropped(DropReason::SourceRate), unread);
    });
}

#[test]
fn scanners_hear_nothing_wherever_they_are_and_without_the_list_they_do() {
    let homes = ["192.0.2.50", "127.0.0.1", "2001:db8::1"];
    each_way(&guarded(|_| {}), |desk| {
        for home in homes {
            for request in [
                options("friendly-scanner"),
                options("x/FRIENDLY-Scanner 1"),
                options("Linphone").replace("<sip:100@", "\"sipvicious\" <sip:100@"),
                options("Linphone").replace("kit-1", "SIPVicious-1"),
                ask("100", "sipcli/v1.8", 1),
            ] {
                assert_eq!(status(desk, from(home, 5060), &request), None, "{request}");
            }
            assert_eq!(status(desk, from(home, 5060), &options("Linphone/5")), Some(200));
        }
        assert_eq!(desk.counters().dropped(DropReason::Scanner), 15);
        let listed = events(desk, SecurityKind::Scanner);
        assert!(listed.iter().any(|one| one.user_agent.as_str() == "sipcli/v1.8"));
    });
    let unaware = guarded(|guard| {
        guard.scanners.clear();
        guard.scanner_patterns.clear();
    });
    each_way(&unaware, |desk| {
        let scan = status(desk, from("192.0.2.50", 5060), &options("friendly-scanner"));
        assert_eq!(scan, Some(200));
    });
}

#[test]
fn a_scanner_over_udp_is_restrained_and_over_a_connection_blocked_at_once() {
    each_way(&guarded(|_| {}), |desk| {
        for _ in 0..20 {
            give(desk, from("192.0.2.50", 5060), &options("friendly-scanner"));
        }
        let [restrained] = blocks(desk)[..] else { panic!("one") };
        assert!(!restrained.whole, "anybody could have sent that in its name");
        assert_eq!(status(desk, from("192.0.2.50", 5060), &options("Linphone")), None);

        let id = ConnectionId { reactor: 0, slot: 7, generation: 1 };
        let peer = Peer::new(b"");
        let link = Link { id, transport: Transport::Tcp, authenticated: false, peer };
        let tcp = from("192.0.2.60", 40_000);
        let request = options("friendly-scanner").replace("/UDP", "/TCP");
        assert_eq!(desk.send_over(link, tcp, &request), None);
        desk.cluster.orders();
        let whole: Vec<_> = blocks(desk).into_iter().filter(|block| block.whole).collect();
        assert_eq!(whole.len(), 1);
        assert_eq!(whole[0].network.to_string(), "192.0.2.60/32");
        let now = desk.cluster.now;
        for shard in &desk.cluster.shards {
            assert!(shard.guard().is_blocked(now.mono, tcp.ip()), "no connection is accepted");
        }
    });
}

fn link(slot: u32, transport: Transport) -> Link<'static> {
    let id = ConnectionId { reactor: slot as u8 % 2, slot, generation: 1 };
    Link { id, transport, authenticated: false, peer: Peer::new(b"") }
}

/// The server has begun anew, so nobody has proved himself: forty phones behind one address come
/// one after the other, and none has answered its challenge before the last has asked.
#[test]
fn a_row_of_phones_over_connections_is_registered_completely() {
    let options = guarded(|guard| (guard.rate_per_s, guard.register_rate_per_s) = (None, None));
    for shards in [1, 2] {
        let cluster = common::cluster::Cluster::new(&Options { shards, ..options.clone() });
        let mut desk = Desk::at(cluster, 0);
        let give = |desk: &mut Desk, phone: &mut Phone| {
            let number: u32 = phone.user[1..].parse().unwrap();
            let mut link = link(number, Transport::Tcp);
            link.id.reactor %= shards;
            let port = 20_000 + number as u16;
            let request = phone.register(600).replace("/UDP", "/TCP");
            let sent = desk.send_over(link, from("192.0.2.1", port), &request);
            desk.cluster.orders();
            Response::parse(&sent.unwrap_or_else(|| panic!("u{number} hears nothing")).bytes)
        };
        let mut phones: Vec<Phone> = (1..=40).map(phone).collect();
        for phone in &mut phones {
            let challenge = give(&mut desk, phone);
            assert_eq!(challenge.status, 401);
            assert!(phone.take_challenge(&challenge));
        }
        for phone in &mut phones {
            assert_eq!(give(&mut desk, phone).status, 200, "{} on {shards} shards", phone.user);
        }
        assert_eq!(blocks(&mut desk), []);
    }
}

/// What a page in somebody's browser can send, over connections that are the office's own.
#[test]
fn a_page_that_somebody_opens_gets_no_phone_of_the_office_blocked() {
    each_way(&guarded(|_| {}), |desk| {
        let mut registered = phone(1);
        assert_eq!(register(desk, &mut registered, source()), Some(200));
        let shards = desk.cluster.shards.len() as u8;
        for slot in 0..70 {
            let mut link = link(slot, Transport::Ws);
            link.id.reactor %= shards;
            let (page, port) = (options("friendly-scanner").replace("/UDP", "/WS"), 50_000);
            assert_eq!(desk.send_over(link, from("192.0.2.7", port), &page), None);
            desk.send_over(link, from("192.0.2.7", port), &page.replace("1 OPTIONS", "x OPTIONS"));
            let now = desk.cluster.now;
            desk.cluster.shards[0].came_to_nothing(now, source().ip());
            desk.cluster.orders();
        }
        assert!(blocks(desk).iter().all(|block| !block.whole));
        assert!(!blocks(desk).is_empty(), "such a source is restrained");
        assert_eq!(status(desk, source(), &registered.register(600)), Some(200));
        assert_eq!(blocks(desk), [], "a success ends that");
    });
}

/// Tries account after account with a wrong password. Returns how many passwords were checked.
fn guess(desk: &mut Desk, attacker: SocketAddr, accounts: u32) -> u64 {
    let before = desk.counters();
    for number in 1..=accounts {
        let mut guesser = phone(number);
        guesser.password = "guess".to_owned();
        register(desk, &mut guesser, attacker);
        desk.pass(1);
    }
    desk.counters().bad_password - before.bad_password
}

#[test]
fn whoever_fails_with_many_accounts_is_blocked_whole_and_without_the_blacklist_is_not() {
    let attacker = from("203.0.113.5", 5060);
    each_way(&guarded(|_| {}), |desk| {
        let checked = guess(desk, attacker, 100);
        assert!((7..=16).contains(&checked), "{checked} passwords checked");
        let [block] = blocks(desk)[..] else { panic!("one") };
        assert!(block.whole && !block.by_operator && block.times == 1);
        assert!(desk.counters().dropped(DropReason::SourceBlocked) > 0);
        // The owners are not touched.
        assert_eq!(register(desk, &mut phone(3), source()), Some(200));
        assert_eq!(events(desk, SecurityKind::Blocked).len(), 1);
        // It ends by itself; whoever goes on is blocked for twice as long.
        desk.pass(600);
        assert_eq!(blocks(desk), []);
        guess(desk, attacker, 30);
        let [block] = blocks(desk)[..] else { panic!("one") };
        assert!(block.times == 2 && block.left_s.unwrap() > 1100, "{block:?}");
    });
    let lenient = guarded(|guard| guard.blacklist = false);
    each_way(&lenient, |desk| {
        let checked = guess(desk, attacker, 100);
        assert!(checked > 80, "{checked} passwords checked");
    });
}

#[test]
fn a_walk_through_numbers_is_noticed_and_a_row_of_phones_is_not() {
    each_way(&guarded(|_| {}), |desk| {
        let scanner = from("203.0.113.5", 5060);
        for number in 100..400 {
            give(desk, scanner, &ask(&number.to_string(), "Linphone", number));
            desk.pass(1);
        }
        assert!(desk.counters().dropped(DropReason::Scanner) > 0);
        assert!(!events(desk, SecurityKind::Walk).is_empty());
        let office = from("192.0.2.1", 5060);
        for number in 1..=100 {
            assert_eq!(register(desk, &mut phone(number), office), Some(200), "{number}");
            desk.pass(1);
        }
        assert!(blocks(desk).iter().all(|block| block.network.to_string() != "192.0.2.1/32"));
    });
}

#[test]
fn networks_are_trusted_blocked_or_limited_by_themselves() {
    let mut options = guarded(|guard| {
        guard.trusted = vec!["10.0.0.0/8".parse().unwrap()];
        guard.blocked = vec!["203.0.113.0/24".parse().unwrap()];
    });
    let mut gateway = Network::new("192.0.2.0/24".parse().unwrap());
    (gateway.rate_per_s, gateway.burst) = (Some(100), Some(100));
    let mut hole = Network::new("203.0.113.7/32".parse().unwrap());
    hole.blocked = Some(false);
    options.networks = vec![gateway, hole];
    each_way(&options, |desk| {
        let trusted = from("10.1.2.3", 5060);
        assert!((0..200).all(|n| status(desk, trusted, &ask("u1", "sipcli", n)) == Some(401)));
        assert_eq!(status(desk, from("203.0.113.9", 5060), &ask("u1", "x", 1)), None);
        assert_eq!(desk.counters().dropped(DropReason::NetworkBlocked), 1);
        assert_eq!(status(desk, from("203.0.113.7", 5060), &ask("u1", "x", 1)), Some(401));
        let answered = (0..400u16)
            .filter(|&nth| {
                let one = SocketAddr::new([192, 0, 2, nth as u8].into(), 5060);
                status(desk, one, &ask("u1", "gateway", nth.into())).is_some()
            })
            .count();
        assert!((100..=200).contains(&answered), "{answered} of all its addresses");
        assert!(desk.counters().dropped(DropReason::NetworkRate) >= 200);
    });
}

#[test]
fn an_operator_blocks_lists_and_lifts() {
    each_way(&guarded(|_| {}), |desk| {
        let now = desk.cluster.now;
        let order = |desk: &mut Desk, control: Control| -> Vec<Reply> {
            let shards = desk.cluster.shards.iter_mut();
            shards.map(|shard| shard.control(now, control.clone())).collect()
        };
        for number in 0..600u32 {
            let ip = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            let for_s = (number % 2 == 0).then_some(100);
            let replies = order(desk, Control::Block(ip, for_s));
            assert!(replies.iter().all(|reply| *reply == Reply::BlockChanged(true)));
        }
        let listed = blocks(desk);
        assert_eq!(listed.len(), 600);
        assert!(listed.is_sorted_by_key(|block| block.network));
        assert!(listed.iter().all(|block| block.by_operator && block.whole));
        assert_eq!((listed[0].left_s, listed[1].left_s), (Some(100), None));
        let blocked = from("10.0.0.1", 5060);
        assert_eq!(status(desk, blocked, &ask("u1", "x", 1)), None);
        desk.pass(100);
        assert_eq!(blocks(desk).len(), 300);
        order(desk, Control::Unblock(blocked.ip()));
        assert_eq!(status(desk, blocked, &ask("u1", "x", 2)), Some(401));
        let again = order(desk, Control::Unblock(blocked.ip()));
        assert!(again.iter().all(|reply| *reply == Reply::BlockChanged(false)));
    });
}

#[test]
fn loopback_has_no_limit_and_no_block_unless_asked_for() {
    let home = from("127.0.0.1", 5060);
    each_way(&guarded(|_| {}), |desk| {
        assert!((0..300).all(|nth| status(desk, home, &ask("u1", "x", nth)) == Some(401)));
        assert!(guess(desk, home, 50) == 50);
        assert_eq!(blocks(desk), []);
    });
    each_way(&guarded(|guard| guard.loopback = true), |desk| {
        assert!(guess(desk, home, 50) < 20);
        assert_eq!(blocks(desk).len(), 1);
    });
}

#[test]
fn a_reload_changes_what_the_guard_obeys() {
    let mut desk_options = guarded(|_| {});
    desk_options.networks = Vec::new();
    each_way(&desk_options, |desk| {
        let now = desk.cluster.now;
        assert_eq!(status(desk, source(), &options("kit")), Some(200));
        let configuration = aorta::shard::control::Configuration {
            registrar: desk_options.registrar.clone(),
            auth: desk_options.auth.clone(),
            guard: Guard { scanners: vec!["kit".into()], ..desk_options.guard.clone() },
            nat: desk_options.nat.clone(),
            liveness: desk_options.liveness.clone(),
            networks: Vec::new(),
            domains: vec![aorta::config::Domain {
                name: "example.com".into(),
                algorithms: desk_options.algorithms,
                aliases: Vec::new(),
            }],
        };
        let order = Control::Configure(configuration.into());
        for shard in &mut desk.cluster.shards {
            shard.control(now, order.clone());
        }
        assert_eq!(status(desk, source(), &options("kit")), None);
        assert_eq!(status(desk, source(), &options("friendly-scanner")), Some(200));
    });
}

#[test]
fn security_events_are_listed_with_account_source_and_user_agent() {
    each_way(&guarded(|_| {}), |desk| {
        let mut wrong = phone(1);
        wrong.password = "guess".to_owned();
        register(desk, &mut wrong, source());
        let mut unknown = phone(9999);
        register(desk, &mut unknown, source());
        let [bad] = &events(desk, SecurityKind::BadPassword)[..] else { panic!("one") };
        assert_eq!(bad.account.as_str(), "u1@example.com");
        assert_eq!((bad.source, bad.user_agent.as_str()), (source().ip(), "Phone/device"));
        let [unknown] = &events(desk, SecurityKind::UnknownAccount)[..] else { panic!("one") };
        assert_eq!(unknown.account.as_str(), "u9999@example.com");
        // A nonce count that has been used, by another request.
        let mut owner = phone(2);
        assert_eq!(register(desk, &mut owner, source()), Some(200));
        owner.nc -= 1;
        assert_eq!(status(desk, source(), &owner.register(600)), Some(401));
        assert_eq!(events(desk, SecurityKind::Replay).len(), 1);
        let mismatch = owner.register(600).replace("username=\"u2\"", "username=\"u3\"");
        assert_eq!(status(desk, source(), &mismatch), Some(403));
        assert_eq!(events(desk, SecurityKind::AccountMismatch).len(), 1);
    });
}
