//! What a final answer means: right or wrong for what was asked, and what the agent does next.
//! Which agent it belongs to, and the timers, are the fleet's business.

use super::check::{self, OwnContact, Wrong};
use super::request::{Credentials, suffix};
use super::{AgentId, Fleet};
use crate::digest::Algorithm;
use crate::plan::{Nanos, SECOND};
use crate::scenarios::Action;
use crate::wire::challenge::Challenge;
use crate::wire::scan::Answer;

/// Challenges one action answers before it gives up: the first and one stale nonce.
const CHALLENGES_MAX: u8 = 2;

/// What an agent does after a right answer.
pub(super) enum Next {
    /// Its action is over.
    Done,
    /// It answers the challenge with these.
    Answer(Credentials),
    /// It comes back then.
    Defer(Nanos),
}

impl Fleet {
    /// What a final answer means for the agent whose request it answers.
    pub(super) fn judge(
        &mut self,
        id: AgentId,
        answer: &Answer<'_>,
        now: Nanos,
    ) -> Result<Next, Wrong> {
        let agent = &self.agents[id as usize];
        let method: &[u8] = match agent.action {
            Action::Options => b"OPTIONS",
            _ => b"REGISTER",
        };
        // RFC 3261 8.2.6.2: what an answer copies from its request.
        if !self.stationery.is_call_id(id, answer.call_id) {
            return Err(Wrong::CallId);
        }
        if answer.cseq != agent.cseq || answer.method != method {
            return Err(Wrong::CSeq);
        }
        if !self.stationery.is_from_tag(id, answer.from_tag) {
            return Err(Wrong::FromTag);
        }
        if answer.to_tag.is_empty() {
            return Err(Wrong::ToTag);
        }
        let credentials = agent.credentials;
        match (agent.action, answer.status) {
            (Action::Options, 200) => Ok(Next::Done),
            (Action::Options, _) => Err(Wrong::Status),
            (Action::WrongPassword, 200) => Err(Wrong::Accepted),
            (Action::WrongPassword, 403) => Ok(Next::Done),
            (Action::WrongPassword, 401 | 407) if credentials == Credentials::Wrong => {
                Ok(Next::Done)
            }
            (Action::WrongPassword, 401 | 407) => {
                self.challenged(id, answer).map(|()| Next::Answer(Credentials::Wrong))
            }
            (Action::Challenge, 401 | 407) => match self.usable(answer) {
                Some(_) => Ok(Next::Done),
                None => Err(Wrong::Challenge),
            },
            (_, 401 | 407) => self.on_challenge(id, answer),
            (_, 200) if credentials == Credentials::Absent => Err(Wrong::Unchallenged),
            (action, 200) => self.on_granted(id, action, answer, now).map(|()| Next::Done),
            (_, 503) if self.habits.scenario.storm => self.on_unavailable(id, answer, now),
            _ => Err(Wrong::Status),
        }
    }

    /// RFC 7616 3.3: without credentials a challenge is the way; with right ones it must say
    /// that the nonce is stale.
    fn on_challenge(&mut self, id: AgentId, answer: &Answer<'_>) -> Result<Next, Wrong> {
        let agent = &self.agents[id as usize];
        let stale = || self.usable(answer).is_some_and(|(challenge, ..)| challenge.stale);
        if agent.credentials == Credentials::Right && !stale() {
            return Err(Wrong::Refused);
        }
        if agent.challenges >= CHALLENGES_MAX {
            return Err(Wrong::Refused);
        }
        self.challenged(id, answer)?;
        Ok(Next::Answer(Credentials::Right))
    }

    /// The first challenge that can be answered (RFC 8760 2.4: the server puts the best first).
    fn usable<'a>(&self, answer: &Answer<'a>) -> Option<(Challenge<'a>, Algorithm, bool)> {
        answer.challenges().find_map(|(value, proxy)| {
            let challenge = Challenge::parse(value)?;
            let algorithm = challenge.algorithm?;
            let usable = proxy == (answer.status == 407)
                && !challenge.nonce.is_empty()
                && (challenge.qop_auth || challenge.qop_absent)
                && self.habits.algorithms.contains(&algorithm);
            usable.then_some((challenge, algorithm, proxy))
        })
    }

    fn challenged(&mut self, id: AgentId, answer: &Answer<'_>) -> Result<(), Wrong> {
        let (challenge, algorithm, proxy) = self.usable(answer).ok_or(Wrong::Challenge)?;
        self.stationery.challenged(id / self.habits.scenario.devices, challenge.realm);
        let agent = &mut self.agents[id as usize];
        let qop = challenge.qop_auth;
        agent.held.keep(challenge.nonce, challenge.opaque, algorithm, qop, proxy);
        agent.nonce_count = 0;
        agent.challenges += 1;
        Ok(())
    }

    fn on_granted(
        &mut self,
        id: AgentId,
        action: Action,
        answer: &Answer<'_>,
        now: Nanos,
    ) -> Result<(), Wrong> {
        let devices = self.habits.scenario.devices;
        let agent = &mut self.agents[id as usize];
        let own = OwnContact {
            user: self.stationery.roster.user(id / devices),
            suffix: suffix(id % devices),
            host: &self.lines[agent.socket as usize].host,
        };
        let alone = self.habits.scenario.alone && self.habits.bindings_max == 1;
        match action {
            Action::Unregister => {
                agent.registered_until = 0;
                check::removed(answer, own)
            }
            // An expiry that is near may have come while the answer was under way.
            Action::Fetch if agent.registered_until < now + 2 * SECOND => Ok(()),
            Action::Fetch => check::granted(answer, own, self.habits.expires, alone).map(|_| ()),
            _ => {
                let seconds = check::granted(answer, own, self.habits.expires, alone)?;
                agent.registered_until = now + u64::from(seconds) * SECOND;
                self.recorder.registered(agent.action_intended, now);
                Ok(())
            }
        }
    }

    /// A storm is where a server sheds load: who is told when to come back does so, as long as his
    /// patience lasts.
    fn on_unavailable(
        &mut self,
        id: AgentId,
        answer: &Answer<'_>,
        now: Nanos,
    ) -> Result<Next, Wrong> {
        let after = answer.retry_after.ok_or(Wrong::Status)?;
        let agent = &self.agents[id as usize];
        let until = now + u64::from(after.max(1)) * SECOND;
        if until.saturating_sub(agent.action_intended) >= self.habits.patience {
            return Err(Wrong::Status);
        }
        Ok(Next::Defer(until))
    }
}
