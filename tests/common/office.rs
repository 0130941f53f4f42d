//! A server with an admin interface, as operators and phones have it before them.
#![allow(dead_code, reason = "each test has its own part of it")]

use std::net::SocketAddr;

use serde_json::Value;

use crate::common::Phone;
use crate::serve::{Server, Wire};

/// A server with an admin interface.
pub struct Office {
    pub server: Server,
    pub http: SocketAddr,
}

impl Office {
    pub fn open(reactors: &str, more: &[&str]) -> Option<Office> {
        let arguments = [
            &["--listen", "udp:127.0.0.1:0", "--reactors", reactors, "--admin", "127.0.0.1:0"],
            more,
        ];
        let server = Server::start(&arguments.concat())?;
        let http = *server.targets.last().expect("it listens");
        Some(Office { server, http })
    }

    /// A phone of account `u<number>` that is registered, and the socket it uses.
    pub fn phone(&self, number: u32, device: &str) -> (Phone, Wire) {
        let wire = Wire::to(self.server.target());
        let mut phone = Phone::new(number, device, &wire.local().to_string());
        let challenge = wire.ask(&phone.register(600));
        assert!(phone.take_challenge(&challenge));
        assert_eq!(wire.ask(&phone.register(600)).status, 200);
        (phone, wire)
    }
}

/// Runs a test at one reactor and at two.
pub fn each(more: &[&str], test: impl Fn(&Office)) {
    for reactors in ["1", "2"] {
        let Some(office) = Office::open(reactors, more) else { return };
        test(&office);
        office.server.stop();
    }
}

/// What a page lists.
pub fn items(page: &Value) -> &[Value] {
    page["items"].as_array().expect("items")
}

/// A family of the exposition, added up.
pub fn sum(metrics: &str, family: &str) -> u64 {
    let values = metrics.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        (name.split('{').next() == Some(family)).then(|| value.parse::<u64>().expect(line))
    });
    values.sum()
}
