//! One thing an operator did, or tried to do.

macro_rules! verbs {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $past:literal,)+) => {
        /// What was done. The name stands in the audit, the phrase in the log's line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(dead_code, reason = "the set is closed, and some of it is done elsewhere")]
        pub(in crate::admin) enum Verb {
            $($(#[doc = $doc])+ $variant,)+
        }

        #[allow(dead_code, reason = "the set is closed, and some of it is done elsewhere")]
        impl Verb {
            /// All of them.
            pub const ALL: [Verb; [$($name),+].len()] = [$(Verb::$variant),+];

            /// As it stands in the audit.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Verb::$variant => $name,)+
                }
            }

            /// As a line of the log says it, in front of what it was done to.
            pub const fn past(self) -> &'static str {
                match self {
                    $(Verb::$variant => $past,)+
                }
            }
        }
    };
}

verbs! {
    /// A registration was taken out.
    Unregister "unregister" "unregistered",
    /// A binding was put in by hand.
    AddBinding "add-binding" "put in a binding of",
    /// An account was suspended.
    Suspend "suspend" "suspended",
    /// Suspensions were lifted.
    LiftSuspension "lift-suspension" "lifted suspensions of",
    /// A source was blocked.
    Block "block" "blocked",
    /// The block of a source was lifted.
    LiftBlock "lift-block" "lifted the block of",
    /// A trace was begun.
    BeginTrace "begin-trace" "traces",
    /// A trace was ended.
    EndTrace "end-trace" "ended the trace",
    /// By which means the kernel drops what is blocked.
    ChooseShield "choose-shield" "blocked sources are for the kernel by:",
    /// Rows were taken away as a file.
    Export "export" "exported",
    /// An alert was acknowledged or silenced.
    Acknowledge "acknowledge" "acknowledged",
    /// History was thrown away before its time.
    Purge "purge" "threw away",
    /// A parameter was given another value.
    SetParameter "set-parameter" "set",
    /// The value an operator gave a parameter was taken back.
    UnsetParameter "unset-parameter" "took back",
    /// Somebody logged in.
    Login "login" "logged in",
    /// Somebody logged out.
    Logout "logout" "logged out",
    /// The first operator was made.
    Setup "setup" "made the first operator",
    /// An operator was made.
    AddOperator "add-operator" "made the operator",
    /// An operator was given another role.
    ChangeRole "change-role" "changed the role of",
    /// An operator was kept out.
    DisableOperator "disable-operator" "disabled",
    /// An operator who was kept out may come in again.
    EnableOperator "enable-operator" "enabled",
    /// An operator was given another password by somebody else.
    ResetPassword "reset-password" "reset the password of",
    /// Somebody changed the own password.
    ChangePassword "change-password" "changed the password of",
    /// An operator was deleted.
    DeleteOperator "delete-operator" "deleted the operator",
    /// A token was made.
    MakeToken "make-token" "made the token",
    /// A token was revoked.
    RevokeToken "revoke-token" "revoked the token",
    /// Somebody asked for what the own role does not let them do.
    RoleRefused "role-refused" "asked for",
    /// What a crash left before this line.
    Torn "torn" "the audit was cut off at",
    /// Lines there was no room for.
    Lost "lost" "lost",
    /// Refusals of sources that were too many to be told apart.
    Refusals "refusals" "were refused:",
    /// A request that a page of somebody else may have forged was refused.
    ForgeryRefused "forgery-refused" "was refused a forged request:",
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Outcome {
    /// It was done.
    Done,
    /// It was not, and nothing has changed: why.
    Refused(String),
    /// It went wrong under way: how.
    Failed(String),
}

/// Longest text of one member of an action, bytes; the rest is cut.
const TEXT_BYTES_MAX: usize = 1024;

/// One thing an operator did. Texts may be whatever phones and browsers sent: they are cut to a
/// length and made plain where they are written.
///
/// ```ignore
/// api.audit(&operator, Action::new(Verb::Unregister, aor).detail(format!("contact {contact}")));
/// api.audit(&operator, Action::new(Verb::Block, source).reason(reason).failed(&why));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::admin) struct Action {
    pub verb: Verb,
    /// What it was done to: an address-of-record, a source, a parameter.
    pub target: String,
    /// What more there is to say; empty where there is nothing.
    pub detail: String,
    /// Why, in the operator's own words; empty where none were given.
    pub reason: String,
    pub outcome: Outcome,
}

#[allow(dead_code, reason = "actions come to be in several places, each with its own ending")]
impl Action {
    /// Something that was done, unless told otherwise.
    pub fn new(verb: Verb, target: impl Into<String>) -> Action {
        Action {
            verb,
            target: cut(target.into()),
            detail: String::new(),
            reason: String::new(),
            outcome: Outcome::Done,
        }
    }

    pub fn detail(self, detail: impl Into<String>) -> Action {
        Action { detail: cut(detail.into()), ..self }
    }

    /// The operator's own words, if there were any.
    pub fn reason(self, reason: Option<&str>) -> Action {
        Action { reason: cut(reason.unwrap_or_default().to_owned()), ..self }
    }

    pub fn refused(self, why: &str) -> Action {
        Action { outcome: Outcome::Refused(cut(why.to_owned())), ..self }
    }

    pub fn failed(self, why: &str) -> Action {
        Action { outcome: Outcome::Failed(cut(why.to_owned())), ..self }
    }

    /// Whether strangers can bring it about as often as they like.
    pub fn is_at_strangers_will(&self) -> bool {
        let verbs = [Verb::Login, Verb::Setup, Verb::RoleRefused, Verb::ForgeryRefused];
        matches!(self.outcome, Outcome::Refused(_)) && verbs.contains(&self.verb)
    }

    /// As a line of the log, without who did it: `unregistered sip:u1@example.com, contact ...`.
    pub fn line(&self) -> String {
        let mut line = format!("{} {}", self.verb.past(), self.target);
        let reason = (!self.reason.is_empty()).then(|| format!("because: {}", self.reason));
        let ending = match &self.outcome {
            Outcome::Done => None,
            Outcome::Refused(why) => Some(format!("refused: {why}")),
            Outcome::Failed(why) => Some(format!("failed: {why}")),
        };
        let detail = (!self.detail.is_empty()).then(|| self.detail.clone());
        for part in [detail, reason, ending].into_iter().flatten() {
            line.push_str(", ");
            line.push_str(&part);
        }
        line
    }
}

/// No longer than a text may be, at a boundary of characters.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_reads_as_a_line() {
        let action = Action::new(Verb::Unregister, "sip:u1@example.com").detail("contact sip:a@b");
        assert_eq!(action.line(), "unregistered sip:u1@example.com, contact sip:a@b");
        let action = Action::new(Verb::Block, "192.0.2.7").reason(Some("scans")).failed("no room");
        assert_eq!(action.line(), "blocked 192.0.2.7, because: scans, failed: no room");
    }

    #[test]
    fn names_are_unique_and_texts_have_their_limit() {
        let mut names = Verb::ALL.map(Verb::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Verb::ALL.len());
        let long = Action::new(Verb::Suspend, "\u{fc}".repeat(TEXT_BYTES_MAX));
        assert_eq!(long.target.len(), TEXT_BYTES_MAX);
        let odd = Action::new(Verb::Suspend, format!("x{}", "\u{fc}".repeat(TEXT_BYTES_MAX)));
        assert_eq!(odd.target.len(), TEXT_BYTES_MAX - 1);
    }
}
