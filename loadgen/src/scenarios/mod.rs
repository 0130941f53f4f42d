//! The library of scenarios: what each makes its phones do next. How a phone does it, and what
//! it expects of the answers, is the agent's business.

pub mod challenge;
pub mod flap;
pub mod mixed;
pub mod refresh;
pub mod register;
pub mod storm;
pub mod wrong;

use std::fmt;
use std::str::FromStr;

/// One thing a phone does, of one or more requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// REGISTER without credentials, challenge, REGISTER with them.
    Register,
    /// REGISTER with the credentials of the last challenge and the next nonce count.
    Refresh,
    /// REGISTER of the own contact with an expiry of 0 (RFC 3261 10.2.2).
    Unregister,
    /// REGISTER without Contact: asks for the bindings (RFC 3261 10.2.3).
    Fetch,
    /// As Register, with a password that is wrong.
    WrongPassword,
    /// OPTIONS (RFC 3261 11).
    Options,
    /// REGISTER without credentials; the challenge is its end.
    Challenge,
}

/// What a scenario may know of the phone that is to do something.
#[derive(Debug, Clone, Copy)]
pub struct Phone {
    /// Number of its account in this thread.
    pub account: u32,
    /// It believes itself registered.
    pub registered: bool,
    /// Drawn anew each time, evenly over all values.
    pub draw: u32,
}

/// A scenario.
#[derive(Debug)]
pub struct Shape {
    /// As it is given on the command line.
    pub name: &'static str,
    /// One line that says what it does.
    pub about: &'static str,
    /// All phones register first, outside the figures.
    pub warm_up: bool,
    /// Phones that share one account and take turns.
    pub devices: u32,
    /// Every phone acts once, all at the start; 503 with Retry-After is obeyed.
    pub storm: bool,
    /// A 200 may list nothing but the own contact, where the server's limit is one binding.
    pub alone: bool,
    /// What a phone does next.
    pub next: fn(&Phone, &Weights) -> Action,
}

static SHAPES: [Shape; 7] = [
    register::SHAPE,
    refresh::SHAPE,
    storm::SHAPE,
    flap::SHAPE,
    wrong::SHAPE,
    mixed::SHAPE,
    challenge::SHAPE,
];

/// A scenario, chosen by name from the library.
#[derive(Clone, Copy)]
pub struct Scenario(&'static Shape);

impl Scenario {
    /// Challenge and answer.
    pub const REGISTER: Scenario = Scenario(&SHAPES[0]);
    /// Refreshes with the same nonce.
    pub const REFRESH: Scenario = Scenario(&SHAPES[1]);
    /// Everybody at once.
    pub const STORM: Scenario = Scenario(&SHAPES[2]);
    /// Two devices of one account take turns.
    pub const FLAP: Scenario = Scenario(&SHAPES[3]);
    /// Bad passwords.
    pub const WRONG: Scenario = Scenario(&SHAPES[4]);
    /// Something of everything.
    pub const MIXED: Scenario = Scenario(&SHAPES[5]);
    /// Requests that never answer the challenge.
    pub const CHALLENGE: Scenario = Scenario(&SHAPES[6]);

    /// The whole library.
    pub fn all() -> impl Iterator<Item = Scenario> {
        SHAPES.iter().map(Scenario)
    }
}

impl std::ops::Deref for Scenario {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        self.0
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Scenario::all().find(|scenario| scenario.name == name).ok_or_else(|| {
            let names: Vec<_> = Scenario::all().map(|scenario| scenario.name).collect();
            format!("no scenario `{name}`: there are {}", names.join(", "))
        })
    }
}

/// Shares of the actions in `mixed`; only their proportions matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Refreshes.
    pub refresh: u32,
    /// Registrations from the challenge on.
    pub register: u32,
    /// Unregistrations.
    pub unregister: u32,
    /// Fetches of the bindings.
    pub fetch: u32,
    /// Wrong passwords; this share of the accounts has nothing else.
    pub wrong: u32,
    /// OPTIONS.
    pub options: u32,
}

impl Default for Weights {
    /// A quiet day: mostly refreshes.
    fn default() -> Self {
        Weights { refresh: 70, register: 10, unregister: 5, fetch: 5, wrong: 5, options: 5 }
    }
}

impl FromStr for Weights {
    type Err = String;

    /// Reads `refresh=70,register=10,...`; what is not named has no share.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights =
            Weights { refresh: 0, register: 0, unregister: 0, fetch: 0, wrong: 0, options: 0 };
        for part in text.split(',') {
            let (name, value) =
                part.split_once('=').ok_or(format!("`{part}` is not ACTION=WEIGHT"))?;
            let place = match name.trim() {
                "refresh" => &mut weights.refresh,
                "register" => &mut weights.register,
                "unregister" => &mut weights.unregister,
                "fetch" => &mut weights.fetch,
                "wrong" => &mut weights.wrong,
                "options" => &mut weights.options,
                other => {
                    return Err(format!(
                        "no action `{other}`: there are refresh, register, unregister, fetch, \
                         wrong, options"
                    ));
                }
            };
            *place = value
                .trim()
                .parse()
                .ok()
                .filter(|weight| *weight <= 1_000_000)
                .ok_or(format!("the weight of {name} is not a number from 0 to 1000000"))?;
        }
        if weights.total() == 0 {
            return Err("all weights are zero".to_owned());
        }
        Ok(weights)
    }
}

impl Weights {
    /// Sum of all weights.
    pub fn total(&self) -> u32 {
        self.refresh + self.register + self.unregister + self.fetch + self.wrong + self.options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_found_by_its_name() {
        for scenario in Scenario::all() {
            assert_eq!(scenario.name.parse::<Scenario>().unwrap().name, scenario.name);
        }
        let constants = [
            (Scenario::REGISTER, "register"),
            (Scenario::REFRESH, "refresh"),
            (Scenario::STORM, "storm"),
            (Scenario::FLAP, "flap"),
            (Scenario::WRONG, "wrong"),
            (Scenario::MIXED, "mixed"),
            (Scenario::CHALLENGE, "challenge"),
        ];
        assert_eq!(constants.len(), Scenario::all().count());
        for (scenario, name) in constants {
            assert_eq!(scenario.name, name);
        }
        assert!("stomr".parse::<Scenario>().unwrap_err().contains("storm"));
    }

    #[test]
    fn weights_are_read_and_bad_ones_refused() {
        let weights: Weights = "refresh=3, wrong=1".parse().unwrap();
        assert_eq!((weights.refresh, weights.wrong, weights.total()), (3, 1, 4));
        for bad in ["", "refresh", "refresh=x", "invite=1", "refresh=0"] {
            assert!(bad.parse::<Weights>().is_err(), "{bad}");
        }
    }
}
