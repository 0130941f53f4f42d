//! Shards and the phones around them: time passes in small steps, OPTIONS reach the phones, and
//! those that are there answer a step later, at whichever shard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use aorta::config::{Liveness, Registrar};
use aorta::flow::Flow;
use aorta::limits::RESPONSE_BYTES_MAX;
use aorta::nat::liveness::{RoundTrip, State};
use aorta::registrar::{AorId, Binding, BindingId};
use aorta::shard::control::Control;
use aorta::shard::counters::Counters;
use aorta::shard::{Datagram, Link, ListenerId, Order};

use crate::common::cluster::{Cluster, Options, Sent};
use crate::common::{Phone, Response};

/// How far time goes at once: also what every answer takes.
pub const STEP: Duration = Duration::from_millis(50);
/// Where the shards listen.
pub const LISTENER: &str = "198.51.100.1:5060";

/// Settings under which probes come often.
pub fn options(liveness: Liveness) -> Options {
    Options {
        registrar: Registrar {
            expires_spread_percent: 0,
            late_margin_s: 0,
            bindings_max: 4,
            ..Registrar::default()
        },
        liveness,
        ..Options::default()
    }
}

/// Each phone is asked once in 20 s, and has 4 s to answer; two misses are too many.
pub fn liveness() -> Liveness {
    Liveness { interval_s: Some(20), timeout_s: 4, misses: 2, ..Liveness::default() }
}

/// A request of the shards, on its way.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Duration,
    pub to: SocketAddr,
    pub flow: Flow,
    pub text: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.text.split("\r\n").find_map(|line| line.strip_prefix(&start))
    }

    pub fn branch(&self) -> &str {
        let via = self.header("Via").expect("a Via");
        via.split_once("branch=").expect("a branch").1.split(';').next().unwrap()
    }

    /// The response of whoever it was asked of.
    pub fn response(&self, status: u16) -> String {
        let copied = ["Via", "From", "Call-ID", "CSeq"].map(|name| {
            format!("{name}: {}\r\n", self.header(name).expect("every request has it"))
        });
        let to = self.header("To").expect("a To");
        format!(
            "SIP/2.0 {status} As It Is\r\n{}To: {to};tag=there\r\nContent-Length: 0\r\n\r\n",
            copied.concat()
        )
    }
}

/// Shards and what is around them.
pub struct Field {
    pub cluster: Cluster,
    /// Who answers, with which status.
    pub alive: BTreeMap<SocketAddr, u16>,
    /// Everything that was asked, also once more.
    pub asked: Vec<Asked>,
    pub step: Duration,
    waiting: Vec<(SocketAddr, String)>,
    next: usize,
    out: Vec<u8>,
}

impl Field {
    pub fn new(shards: u8, options: &Options) -> Field {
        let mut field = Field {
            cluster: Cluster::new(&Options { shards, ..options.clone() }),
            alive: BTreeMap::new(),
            asked: Vec::new(),
            step: STEP,
            waiting: Vec::new(),
            next: 0,
            out: vec![0; RESPONSE_BYTES_MAX],
        };
        let listeners = vec![LISTENER.parse().unwrap()];
        field.control(&Control::Listening(listeners));
        field
    }

    /// Gives an order to every shard.
    pub fn control(&mut self, order: &Control) {
        let now = self.cluster.now;
        for shard in &mut self.cluster.shards {
            shard.control(now, order.clone());
        }
    }

    /// Gives a datagram to one shard after the other.
    pub fn give(&mut self, source: SocketAddr, text: &str) -> Option<Sent> {
        self.next += 1;
        self.cluster.now.wall_us += 1;
        self.cluster.give(self.next, source, text.as_bytes())
    }

    /// Gives a message that came by a connection.
    pub fn give_over(&mut self, link: Link<'_>, source: SocketAddr, text: &str) -> Option<Sent> {
        self.cluster.now.wall_us += 1;
        let received_at = self.cluster.now.mono;
        let (listener, bytes) = (ListenerId(0), text.as_bytes());
        let link = Some(link);
        let message = Datagram { source, listener, local_ip: None, received_at, bytes, link };
        self.cluster.carry(0, &message)
    }

    pub fn ask(&mut self, source: SocketAddr, text: &str) -> Response {
        Response::parse(&self.give(source, text).expect("an answer").bytes)
    }

    /// Registers a phone that has not been challenged, or not with this nonce.
    pub fn register(&mut self, phone: &mut Phone, source: SocketAddr, headers: &[(&str, &str)]) {
        let contact = format!("<{}>", phone.contact);
        let mut all = vec![("Contact", contact.as_str()), ("Expires", "3600")];
        all.extend_from_slice(headers);
        let text = phone.request(&all);
        let mut response = self.ask(source, &text);
        if response.status == 401 {
            assert!(phone.take_challenge(&response));
            let text = phone.request(&all);
            response = self.ask(source, &text);
        }
        assert_eq!(response.status, 200, "{} {}", phone.contact, response.reason);
    }

    /// A phone of account `u<number>` that is registered from `source` and answers there.
    pub fn phone(&mut self, number: u32, device: &str, source: &str) -> Phone {
        let mut phone = Phone::new(number, device, source);
        let source = source.parse().unwrap();
        self.register(&mut phone, source, &[]);
        self.alive.insert(source, 200);
        phone
    }

    /// The phone at `source` is gone.
    pub fn kill(&mut self, source: &str) {
        self.alive.remove(&source.parse().unwrap()).expect("it was alive");
    }

    /// Lets so many seconds pass.
    pub fn pass(&mut self, seconds: u64) {
        let end = self.cluster.now.after(Duration::from_secs(seconds)).mono;
        while self.cluster.now.mono < end {
            self.step();
        }
    }

    /// Lets time pass until something is so.
    pub fn pass_until(&mut self, at_most: u64, is_so: impl Fn(&Field) -> bool) -> Duration {
        let start = self.cluster.now.mono;
        while !is_so(self) {
            let passed = self.cluster.now.mono.saturating_since(start);
            assert!(passed < Duration::from_secs(at_most), "{:#?}", self.counters());
            self.step();
        }
        self.cluster.now.mono.saturating_since(start)
    }

    fn step(&mut self) {
        self.cluster.now = self.cluster.now.after(self.step);
        for (source, response) in std::mem::take(&mut self.waiting) {
            self.give(source, &response);
        }
        self.turn();
    }

    /// One turn of every shard, and what it sends.
    pub fn turn(&mut self) {
        let now = self.cluster.now;
        for shard in &mut self.cluster.shards {
            loop {
                let next = shard.turn(now);
                while let Some(order) = shard.poll_order(&mut self.out) {
                    let Order::Send { to, flow, len } = order else { continue };
                    let text = String::from_utf8(self.out[..len].to_vec()).unwrap();
                    if !text.starts_with("OPTIONS ") {
                        continue;
                    }
                    let at = Duration::from_nanos(now.mono.as_nanos());
                    let asked = Asked { at, to, flow, text };
                    if let Some(&status) = self.alive.get(&to) {
                        self.waiting.push((to, asked.response(status)));
                    }
                    self.asked.push(asked);
                }
                if next.is_none_or(|next| next > now.mono) {
                    break;
                }
            }
        }
    }

    /// What was asked since the last call.
    pub fn take_asked(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.asked)
    }

    /// Probes of `to` since the last [`Field::take_asked`], each counted once.
    pub fn probes_of(&self, to: &str) -> usize {
        let to: SocketAddr = to.parse().unwrap();
        let branches = self.asked.iter().filter(|asked| asked.to == to).map(Asked::branch);
        branches.collect::<BTreeSet<_>>().len()
    }

    /// ICMP reports, to every shard as reactors tell them.
    pub fn icmp(&mut self, to: &str) {
        let now = self.cluster.now;
        for shard in &mut self.cluster.shards {
            shard.unreachable(now, to.parse().unwrap());
        }
        self.turn();
    }

    /// A keepalive comes, and every shard is told.
    pub fn heard(&mut self, source: &str) {
        let now = self.cluster.now;
        for shard in &mut self.cluster.shards {
            shard.heard(now, source.parse().unwrap());
        }
        self.turn();
    }

    /// The bindings of account `u<number>`, the oldest first.
    pub fn bindings(&self, number: u32) -> Vec<(BindingId, Binding)> {
        let aor = format!("u{number}@example.com");
        let here = |shard: &&aorta::shard::Shard| shard.find_account(aor.as_bytes()).is_some();
        let shard = self.cluster.shards.iter().find(here).expect("an account");
        let account = shard.find_account(aor.as_bytes()).unwrap();
        let found = shard.registrar().bindings(AorId(account.0), self.cluster.now);
        found.map(|(id, binding)| (id, binding.clone())).collect()
    }

    /// The contacts of account `u<number>` and whether each is known to be reachable.
    pub fn reachable(&self, number: u32) -> Vec<(String, bool)> {
        let shown = |(_, binding): (_, Binding)| {
            (String::from_utf8(binding.contact().to_vec()).unwrap(), binding.is_reachable())
        };
        self.bindings(number).into_iter().map(shown).collect()
    }

    /// Whether the only binding of account `u<number>` is known to be reachable.
    pub fn is_reachable(&self, number: u32) -> bool {
        match self.reachable(number).as_slice() {
            [(_, is)] => *is,
            other => panic!("{other:?}"),
        }
    }

    /// What is known of the first binding of account `u<number>`.
    pub fn state(&self, number: u32) -> (Option<State>, Option<RoundTrip>) {
        let (id, _) = self.bindings(number)[0];
        let aor = format!("u{number}@example.com");
        let here = |shard: &&aorta::shard::Shard| shard.find_account(aor.as_bytes()).is_some();
        let shard = self.cluster.shards.iter().find(here).expect("an account");
        (shard.liveness(id), shard.round_trip(id))
    }

    /// The counters of all shards together.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for shard in &self.cluster.shards {
            sum += shard.counters();
        }
        sum
    }
}
