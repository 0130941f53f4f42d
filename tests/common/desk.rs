//! A registrar to put questions to: a cluster, and the shard at which the next datagram arrives.
//! What holds for REGISTER must hold whichever shard receives it, so each test runs over all ways.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::net::SocketAddr;
use std::time::Duration;

use aorta::config::Registrar;
use aorta::shard::counters::Counters;
use aorta::shard::{Datagram, Link, ListenerId};

use crate::common::cluster::{Cluster, Options, Sent};
use crate::common::{Phone, Response};

/// Where every phone sends from unless the test says otherwise.
pub const SOURCE: &str = "192.0.2.7:40000";

/// A cluster and the way datagrams take into it.
pub struct Desk {
    pub cluster: Cluster,
    arrivals: Arrivals,
}

/// At which shard datagrams arrive.
#[derive(Clone, Copy, Debug)]
enum Arrivals {
    At(usize),
    /// At the next shard each time, as a phone's do whose source port changes.
    InTurn(usize),
}

/// Runs `test` with one shard, with three where everything arrives at the first, the second, the
/// third, and with three where datagrams arrive in turn.
pub fn each_way(options: &Options, test: impl Fn(&mut Desk)) {
    let ways = [
        (1, Arrivals::At(0)),
        (3, Arrivals::At(0)),
        (3, Arrivals::At(1)),
        (3, Arrivals::At(2)),
        (3, Arrivals::InTurn(0)),
    ];
    for (shards, arrivals) in ways {
        eprintln!("{shards} shards, datagrams arrive {arrivals:?}");
        let cluster = Cluster::new(&Options { shards, ..options.clone() });
        test(&mut Desk { cluster, arrivals });
    }
}

/// Options that differ from the cluster's own in what the registrar obeys; expiries are not
/// spread, waits not lengthened, and nothing is kept past its time.
pub fn registrar(registrar: Registrar) -> Options {
    Options {
        registrar: Registrar {
            expires_spread_percent: 0,
            late_margin_s: 0,
            retry_after_jitter_percent: 0,
            ..registrar
        },
        ..Options::default()
    }
}

/// As [`registrar`], with another limit of bindings.
pub fn bindings_max(bindings_max: u8) -> Options {
    registrar(Registrar { bindings_max, ..Registrar::default() })
}

pub fn source() -> SocketAddr {
    SOURCE.parse().unwrap()
}

impl Desk {
    /// Where everything arrives at one shard.
    pub fn at(cluster: Cluster, shard: usize) -> Desk {
        Desk { cluster, arrivals: Arrivals::At(shard) }
    }

    /// Gives a datagram from `source`, and returns what is sent.
    pub fn send_from(&mut self, source: SocketAddr, request: &str) -> Option<Sent> {
        let at = match &mut self.arrivals {
            Arrivals::At(at) => *at,
            Arrivals::InTurn(next) => {
                *next += 1;
                *next
            }
        };
        // No two batches are received in one microsecond.
        self.cluster.now.wall_us += 1;
        self.cluster.give(at, source, request.as_bytes())
    }

    /// Gives a message that came by a connection, and returns what is sent back over it.
    pub fn send_over(&mut self, link: Link<'_>, source: SocketAddr, request: &str) -> Option<Sent> {
        self.cluster.now.wall_us += 1;
        let received_at = self.cluster.now.mono;
        let (listener, bytes) = (ListenerId(0), request.as_bytes());
        let link = Some(link);
        let message = Datagram { source, listener, local_ip: None, received_at, bytes, link };
        self.cluster.carry(link.map_or(0, |link| usize::from(link.id.reactor)), &message)
    }

    /// The text of the answer.
    pub fn text(&mut self, request: &str) -> String {
        let sent = self.send_from(source(), request).expect("an answer");
        String::from_utf8(sent.bytes).expect("text")
    }

    pub fn ask(&mut self, request: &str) -> Response {
        self.ask_from(source(), request)
    }

    pub fn ask_from(&mut self, source: SocketAddr, request: &str) -> Response {
        let sent = self.send_from(source, request).expect("an answer");
        assert_eq!(sent.to, source, "the answer goes where the request came from (rport)");
        Response::parse(&sent.bytes)
    }

    /// Lets the phone be challenged, so that its next request carries credentials.
    pub fn challenge(&mut self, phone: &mut Phone) {
        phone.challenge = None;
        let response = self.ask(&phone.register(3600));
        assert_eq!(response.status, 401);
        assert!(phone.take_challenge(&response));
    }

    /// A phone of account `u<number>` that has been challenged, at a host named after the device.
    pub fn phone(&mut self, number: u32, device: &str) -> Phone {
        let mut phone = Phone::new(number, device, &format!("{device}.phones.test:5070"));
        self.challenge(&mut phone);
        phone
    }

    /// A phone that is registered for `expires` seconds.
    pub fn registered(&mut self, number: u32, device: &str, expires: u32) -> Phone {
        let mut phone = self.phone(number, device);
        let response = self.ask(&phone.register(expires));
        assert_eq!(response.status, 200, "{} of {}", phone.user_agent, phone.user);
        phone
    }

    pub fn pass(&mut self, seconds: u64) {
        self.cluster.pass(Duration::from_secs(seconds));
    }

    /// What account `u<number>` is bound to, with the seconds left.
    pub fn bound(&self, number: u32) -> Vec<(String, u32)> {
        self.cluster.bound(&format!("u{number}"))
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

/// The `Contact` of a phone with the seconds of its `expires`, as a 200 lists it.
pub fn listed(phone: &Phone, seconds: u32) -> Vec<(String, u32)> {
    vec![(phone.contact.clone(), seconds)]
}
