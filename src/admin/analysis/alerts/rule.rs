//! The rules there are, and what one of them says of a moment.

use crate::config::AlertRules;

/// How soon somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Severity {
    Warning,
    Critical,
}

impl Severity {
    pub const fn word(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

macro_rules! rules {
    ($(
        $(#[doc = $doc:literal])+
        $rule:ident = $word:literal, $severity:ident, $at_once:literal;
    )+) => {
        /// What may be out of the ordinary.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::admin) enum Rule { $($(#[doc = $doc])+ $rule,)+ }

        impl Rule {
            /// All of them, in the order of their numbers.
            pub const ALL: [Rule; [$($word),+].len()] = [$(Rule::$rule),+];

            /// Its word in lists, metrics and messages.
            pub const fn word(self) -> &'static str {
                match self { $(Rule::$rule => $word),+ }
            }

            /// How soon somebody should look.
            pub const fn severity(self) -> Severity {
                match self { $(Rule::$rule => Severity::$severity),+ }
            }

            /// What it is, as a sentence without its end.
            pub fn about(self) -> &'static str {
                match self { $(Rule::$rule => concat!($($doc),+).trim()),+ }
            }

            /// What is told once by a shard has shown itself already: nothing is waited for.
            pub const fn is_at_once(self) -> bool {
                match self { $(Rule::$rule => $at_once),+ }
            }
        }
    };
}

rules! {
    /// Far fewer registrations than usual
    RegistrationsDrop = "registrations_drop", Critical, false;
    /// Far more registrations than usual
    RegistrationsSpike = "registrations_spike", Warning, false;
    /// Far fewer successful REGISTERs a second than usual
    RegisterRateDrop = "register_rate_drop", Critical, false;
    /// Far more new registrations a second than usual
    RegisterRateSpike = "register_rate_spike", Warning, false;
    /// Many REGISTERs fail
    Failures = "failures", Warning, false;
    /// One source has very many registrations
    SourceAccounts = "source_accounts", Warning, false;
    /// Somebody tries one number after another
    Walk = "walk", Warning, true;
    /// Many accounts were suspended at once
    ManySuspensions = "many_suspensions", Warning, true;
    /// One account is used, or tried, from many sources
    ManySources = "many_sources", Warning, true;
    /// An account registers without end
    RapidRegistration = "rapid_registration", Warning, true;
    /// Devices keep kicking each other
    Flapping = "flapping", Warning, false;
    /// What the host can take is used up soon
    Capacity = "capacity", Critical, false;
    /// Keepalives go out too late to keep phones reachable
    Keepalives = "keepalives", Critical, false;
    /// Requests are shed for want of capacity
    Overload = "overload", Critical, false;
    /// What happens to registrations is not all in history
    HistoryLoss = "history_loss", Warning, false;
}

impl Rule {
    /// The rule of that word.
    pub fn find(word: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.word() == word)
    }

    /// Its threshold as it is set; `None` where it is off.
    pub fn threshold(self, rules: &AlertRules) -> Option<f64> {
        let switch = |on: bool| on.then_some(0.0);
        match self {
            Rule::RegistrationsDrop => rules.drop_percent.map(f64::from),
            Rule::RegistrationsSpike => rules.spike_percent.map(f64::from),
            Rule::RegisterRateDrop => rules.rate_drop_percent.map(f64::from),
            Rule::RegisterRateSpike => rules.rate_spike_percent.map(f64::from),
            Rule::Failures => rules.failures_percent.map(f64::from),
            Rule::SourceAccounts => rules.source_accounts.map(f64::from),
            Rule::Walk | Rule::ManySuspensions | Rule::ManySources | Rule::RapidRegistration => {
                switch(rules.patterns)
            }
            Rule::Flapping => rules.flapping.map(f64::from),
            Rule::Capacity => rules.capacity_percent.map(f64::from),
            Rule::Keepalives => rules.keepalives_percent.map(f64::from),
            Rule::Overload | Rule::HistoryLoss => switch(rules.overload),
        }
    }
}

/// What a rule says of a moment.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::admin) enum Verdict {
    /// It is off.
    Off,
    /// Too little is known to say.
    Unknown,
    /// As usual.
    Fine(Measured),
    /// Out of the ordinary.
    Over(Measured),
}

/// What was looked at.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::admin) struct Measured {
    pub value: f64,
    /// From where on it is out of the ordinary.
    pub threshold: f64,
    /// The same as a sentence without its end.
    pub said: String,
}

impl Verdict {
    pub fn measured(&self) -> Option<&Measured> {
        match self {
            Verdict::Fine(measured) | Verdict::Over(measured) => Some(measured),
            Verdict::Off | Verdict::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_word_of_its_own_and_can_be_switched_off() {
        let off = AlertRules {
            drop_percent: None,
            spike_percent: None,
            rate_drop_percent: None,
            rate_spike_percent: None,
            failures_percent: None,
            source_accounts: None,
            flapping: None,
            capacity_percent: None,
            keepalives_percent: None,
            overload: false,
            patterns: false,
            ..AlertRules::default()
        };
        for (number, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!((rule as usize, Rule::find(rule.word())), (number, Some(rule)));
            assert!(rule.threshold(&AlertRules::default()).is_some());
            assert_eq!(rule.threshold(&off), None, "{}", rule.word());
        }
        assert_eq!(Rule::find("x"), None);
    }
}
