//! A user agent that does what the RFCs ask of one when it is told something: it answers the first
//! challenge it understands, renews a stale nonce without a word to its user, asks again with the
//! minimum after 423, takes up the next nonce. What it relies on is the contract.

use crate::common::{Challenge, Phone, Response};
use crate::link::{Link, Place};

/// More rounds than any good registrar needs; a phone that goes on is a storm.
const ROUNDS_MAX: usize = 4;

pub struct Agent {
    pub phone: Phone,
    pub link: Link,
    /// Digest algorithms it knows, whatever their order.
    pub knows: &'static [&'static str],
    /// Whether it asks again with the Min-Expires of a 423.
    pub obeys_minimum: bool,
    /// How often its user was asked for the password again.
    pub prompts: u32,
    /// Every status it was answered with.
    pub statuses: Vec<u16>,
}

impl Agent {
    /// A device of account `number` at `place`.
    pub fn new(place: &Place<'_>, number: u32, device: &str) -> Agent {
        let number = place.account(number);
        let mut phone = Phone::new(number, device, &format!("{device}.phones.test:5070"));
        phone.user_agent = format!("Contract/{device}");
        Agent {
            phone,
            link: place.link(),
            knows: &["MD5"],
            obeys_minimum: true,
            prompts: 0,
            statuses: Vec::new(),
        }
    }

    /// Registers its contact for so many seconds, and follows what it is told.
    pub fn register(&mut self, expires: u32) -> Response {
        let mut expires = expires;
        let mut response = self.once(expires);
        for _ in 1..ROUNDS_MAX {
            match response.status {
                401 if self.takes_up(&response) => {}
                423 if self.obeys_minimum => {
                    let minimum = response.header("min-expires").expect("423 has Min-Expires");
                    expires = minimum.parse().expect("a number of seconds");
                }
                _ => break,
            }
            response = self.once(expires);
        }
        response
    }

    /// One request, and no more than hearing its answer.
    pub fn once(&mut self, expires: u32) -> Response {
        let request = self.phone.register(expires);
        self.tell(&request)
    }

    /// One REGISTER with these headers.
    pub fn once_with(&mut self, headers: &[(&str, &str)]) -> Response {
        let request = self.phone.request(headers);
        self.tell(&request)
    }

    /// The bindings of its account.
    pub fn fetch(&mut self) -> Response {
        let response = self.once_with(&[]);
        assert_eq!(response.status, 200);
        response
    }

    fn tell(&mut self, request: &str) -> Response {
        let response = self.link.ask(request);
        self.statuses.push(response.status);
        self.takes_next_nonce(&response);
        response
    }

    /// RFC 7616 3.3: "stale ... true ... the client may wish to simply retry the request with a
    /// new encrypted response, without reprompting the user for a new username and password".
    fn takes_up(&mut self, response: &Response) -> bool {
        let offered: Vec<Challenge> =
            response.all("www-authenticate").map(Challenge::parse).collect();
        let Some(chosen) = offered.into_iter().find(|c| self.knows.contains(&&*c.algorithm)) else {
            return false;
        };
        let answered_before = self.phone.challenge.is_some();
        if answered_before && !chosen.stale {
            self.prompts += 1;
            return false;
        }
        self.phone.challenge = Some(chosen);
        self.phone.nc = 0;
        true
    }

    /// RFC 7616 3.5: the next request uses it.
    fn takes_next_nonce(&mut self, response: &Response) {
        let info = response.header("authentication-info").unwrap_or_default();
        let next = info.split("nextnonce=\"").nth(1).and_then(|rest| rest.split('"').next());
        if let (Some(next), Some(challenge)) = (next, &mut self.phone.challenge) {
            next.clone_into(&mut challenge.nonce);
            self.phone.nc = 0;
        }
    }
}
