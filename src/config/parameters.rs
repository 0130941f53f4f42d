//! The one table of parameters: key, alias, unit, default, range, meaning, and the field each one
//! reaches. What a row can be is [`parameter`](super::parameter)'s, what a value's text looks like
//! [`value`]'s; the values are [`Settings`](super::Settings).

use super::kinds::kind;
use super::nearest::nearest;
pub use super::parameter::Parameter;
use super::parameter::{Kind, SPELLINGS};
use super::refusal::{Fault, Origin, Refusal};
use super::value::{self, Unit, joined};
use super::{
    Backend, ChallengeCode, ClientAuth, Evict, Kernel, LivenessAnswer, MinExpiresPolicy, PathMode,
    Replace, Steering, Unreachable, UserParameters,
};
use crate::limits::{
    BINDINGS_MAX, GUARD_NETWORKS_MAX, KEEPALIVE_BYTES_MAX, LISTENERS_MAX, MESSAGE_BYTES_MAX,
    NETWORKS_MAX, ORIGINS_MAX, RESPONSE_BYTES_MAX, SCANNER_WORD_BYTES_MAX, SCANNER_WORD_BYTES_MIN,
    SCANNER_WORDS_MAX, SERVICE_ROUTES_MAX, SHARDS_MAX,
};

pub(super) const EXPIRES_MAX: &str = "registrar.expires_max";
pub(super) const EXPIRES_MIN: &str = "registrar.expires_min";
pub(super) const EXPIRES_DEFAULT: &str = "registrar.expires_default";
pub(super) const NAT_EXPIRES_MAX: &str = "registrar.nat_expires_max";
pub(super) const SUBSCRIPTION_EXPIRES_MAX: &str = "registrar.subscription_expires_max";
pub(super) const SUBSCRIPTION_EXPIRES_MIN: &str = "registrar.subscription_expires_min";
pub(super) const SUBSCRIPTION_EXPIRES_DEFAULT: &str = "registrar.subscription_expires_default";
pub(super) const KEEPALIVE_PERIOD: &str = "nat.keepalive_period";
pub(super) const BLOCK_TIME: &str = "guard.block_time";
pub(super) const BLOCK_TIME_MAX: &str = "guard.block_time_max";
pub(super) const GUARD_SOURCES: &str = "guard.sources";
pub(super) const OVERLOAD_NEWCOMERS: &str = "overload.wait_newcomers";
pub(super) const OVERLOAD_KNOWN: &str = "overload.wait_known";
pub(super) const OVERLOAD_PROVEN: &str = "overload.wait_proven";
pub(super) const SECURITY_LOG: &str = "security.log";
pub(super) const SECURITY_LOG_BYTES: &str = "security.log_bytes";
pub(super) const SECURITY_LOG_FILES: &str = "security.log_files";
pub(super) const LISTEN: &str = "serve.listen";
pub(super) const REACTORS: &str = "serve.reactors";
pub(super) const CPUS: &str = "serve.cpus";
pub(super) const BACKEND: &str = "serve.backend";
pub(super) const LATENCY_SAMPLING: &str = "serve.latency_sampling";
pub(super) const STEERING: &str = "serve.steering";
pub(super) const STEERED_SOURCES: &str = "serve.steered_sources";
pub(super) const ADMIN: &str = "serve.admin";
pub(super) const ADMIN_TOKEN_FILE: &str = "serve.admin_token_file";
pub(super) const ADMIN_CERTIFICATE: &str = "admin.certificate";
pub(super) const ADMIN_KEY: &str = "admin.key";
pub(super) const AUDIT_BYTES: &str = "admin.audit_bytes";
pub(super) const AUDIT_FILES: &str = "admin.audit_files";
pub(super) const TLS_CERTIFICATE: &str = "tls.certificate";
pub(super) const TLS_KEY: &str = "tls.key";
pub(super) const TLS_CLIENT_CA: &str = "tls.client_ca";
pub(super) const TLS_CLIENT_AUTH: &str = "tls.client_auth";

/// The rows: `key, alias, unit, kind, meaning`.
macro_rules! table {
    ($($key:expr, $alias:literal, $unit:ident, {$($kind:tt)+}, $about:literal;)+) => {
        [$(Parameter {
            key: $key,
            alias: $alias,
            unit: Unit::$unit,
            about: $about,
            kind: kind!($($kind)+),
        }),+]
    };
}

/// Every parameter there is.
pub static PARAMETERS: [Parameter; 150] = table![
    "registrar.replace", "SS_ENDPOINT_REGISTER_REPLACE", None,
    {word Replace registrar.replace},
    "A REGISTER over the limit of bindings removes a binding (On), is refused (Off), or removes \
     one that has no call";
    "registrar.bindings_max", "SERVER_REGISTRAR_MAX_BINDINGS", None,
    {whole 1-64 registrar.bindings_max},
    "Concurrent bindings of one address-of-record";
    "registrar.total_max", "", None,
    {optional "off" 1-2000000000 registrar.total_max},
    "Registrations of all accounts together; over it refreshes go on, and newcomers meet 503 with \
     Retry-After";
    "registrar.evict", "", None,
    {word Evict registrar.evict},
    "Which binding makes room: the oldest, or the oldest of those known not to answer";
    EXPIRES_MAX, "SS_ENDPOINT_EXPIRE", Seconds,
    {whole 20-86400 registrar.expires_max_s},
    "Longest registration granted, and what is granted when nothing is asked";
    EXPIRES_MIN, "", Seconds,
    {whole 1-3600 registrar.expires_min_s},
    "Shortest registration";
    "registrar.expires_min_policy", "", None,
    {word MinExpiresPolicy registrar.expires_min_policy},
    "A REGISTER that asks for less than the minimum gets 423 (refuse) or the minimum (raise)";
    EXPIRES_DEFAULT, "", Seconds,
    {optional "maximum" 1-86400 registrar.expires_default_s},
    "What is granted when nothing is asked; the maximum unless set";
    NAT_EXPIRES_MAX, "SS_ENDPOINT_NAT_EXPIRE", Seconds,
    {whole 20-86400 registrar.nat_expires_max_s},
    "Longest registration granted to an endpoint behind NAT";
    "registrar.expires_spread", "", Percent,
    {whole 0-50 registrar.expires_spread_percent},
    "Granted expiries are shortened by up to this share, so that a storm of phones does not \
     return in step";
    "registrar.late_margin", "", Seconds,
    {whole 0-300 registrar.late_margin_s},
    "How long a binding is kept past its granted expiry, so that a late refresh is a refresh";
    "registrar.retry_after", "", Seconds,
    {whole 1-3600 registrar.retry_after_s},
    "Retry-After of the 503 for too many bindings";
    "registrar.retry_after_jitter", "", Percent,
    {whole 0-100 registrar.retry_after_jitter_percent},
    "Retry-After is lengthened by up to this share, so that those turned away do not return in \
     step";
    "registrar.path", "", None,
    {word PathMode registrar.path},
    "Path (RFC 3327) is ignored, stored, or refused with 420 from phones that do not support it";
    "registrar.service_route", "", None,
    {list "0-4 SIP URIs" value::service_route, registrar.service_route},
    "Service-Route of a 200 (RFC 3608), in order";
    "registrar.outbound", "", None,
    {switch registrar.outbound},
    "Flows of one device are kept beside each other (RFC 5626)";
    "registrar.flow_timer", "", Seconds,
    {whole 0-3600 registrar.flow_timer_s},
    "Flow-Timer of a 200 over outbound (RFC 5626); 0 sends none";
    "registrar.gruu", "", None,
    {switch registrar.gruu},
    "Phones that ask are given GRUUs (RFC 5627)";
    "registrar.keep", "", None,
    {switch registrar.keep},
    "The Via parameter keep is answered (RFC 6223)";
    "registrar.date", "", None,
    {switch registrar.date},
    "A 200 has a Date";
    "registrar.flapping_window", "", Seconds,
    {whole 1-3600 registrar.flapping.window_s},
    "Kicks between two devices are counted over this time";
    "registrar.flapping_kicks", "", None,
    {whole 2-100 registrar.flapping.kicks},
    "So many kicks within the window are flapping";
    "registrar.flapping_damping", "", Seconds,
    {whole 0-3600 registrar.flapping.damping_s},
    "How long the newcomer of a flapping pair is turned away with Retry-After; 0 turns nobody away";
    "registrar.redirect", "", None,
    {switch registrar.redirect},
    "Requests for a registered address-of-record are answered 302 with its contacts";
    "registrar.reg_event", "", None,
    {switch registrar.reg_event},
    "The event package reg may be subscribed to (RFC 3680)";
    SUBSCRIPTION_EXPIRES_MIN, "", Seconds,
    {whole 1-3600 registrar.subscription_expires_min_s},
    "Shortest subscription";
    SUBSCRIPTION_EXPIRES_MAX, "", Seconds,
    {whole 60-86400 registrar.subscription_expires_max_s},
    "Longest subscription";
    SUBSCRIPTION_EXPIRES_DEFAULT, "", Seconds,
    {whole 60-86400 registrar.subscription_expires_default_s},
    "What a subscription is granted when nothing is asked";
    "registrar.watchers", "", None,
    {list "0-64 networks" value::networks, registrar.watchers},
    "Networks whose senders may watch any address-of-record; others may watch their own";
    "registrar.user_parameters", "", None,
    {word UserParameters registrar.user_parameters},
    "Parameters inside the user part of a URI are part of the account's name, or cut away";
    "registrar.compact", "", None,
    {switch registrar.compact},
    "Of Call-IDs, and of User-Agents that few phones have, only hashes are kept: a smaller \
     binding, of which management shows neither";
    "auth.nonce_lifetime", "", Seconds,
    {whole 30-86400 auth.nonce_lifetime_s},
    "Age at which a nonce is stale; shorter than the refresh of phones makes every refresh cost \
     two requests";
    "auth.algorithms", "", None,
    {algorithms},
    "What challenges offer, strongest first, unless the domain says otherwise";
    "auth.challenge_code", "SS_SIP_AUTHENTICATION_CODE", None,
    {word ChallengeCode auth.challenge_code},
    "Status of a challenge";
    "auth.retry_max", "SS_SIP_AUTHENTICATION_RETRY", None,
    {whole 0-999 auth.retry_max},
    "Wrong answers within one authentication session before 403";
    "auth.session_timeout", "SS_SIP_AUTHENTICATION_TIMEOUT", Seconds,
    {whole 1-3600 auth.session_timeout_s},
    "Time one authentication session may take";
    "auth.next_nonce", "", None,
    {switch auth.next_nonce},
    "A 200 names the next nonce once the one in use is past half its lifetime";
    "auth.suspend_checks", "SS_AUTHENTICATION_MAX_RETRY", None,
    {whole 0-999 auth.suspension.checks_max},
    "Wrong passwords in a row, of any method, before an account is suspended for their source; 0 \
     is never";
    "auth.suspend_checks_time", "SS_AUTHENTICATION_FAILED_SUSPEND", Seconds,
    {whole 60-3600 auth.suspension.checks_time_s},
    "How long that suspension is";
    "auth.suspend_registers", "SS_ENDPOINTREGISTERSUSPEND", None,
    {switch auth.suspension.registers},
    "Failed REGISTERs in a row suspend an account for their source";
    "auth.suspend_registers_max", "SS_ENDPOINTREGISTERRETRY", None,
    {whole 1-100 auth.suspension.registers_max},
    "How many failed REGISTERs in a row do; a success sets the count to zero";
    "auth.suspend_registers_time", "SS_ENDPOINTREGISTERSUSPENDTIME", Seconds,
    {whole 60-86400 auth.suspension.registers_time_s},
    "How long that suspension is";
    "auth.reply_unauthorized", "SS_REPLY_UNAUTHORIZED", None,
    {switch auth.reply_unauthorized},
    "Unknown accounts and unknown sources are answered; Off leaves them without any answer";
    "nat.tests", "", None,
    {nat_tests},
    "Signs in a REGISTER of which one is enough for a phone to be behind NAT";
    "nat.keepalive_message", "SS_SIP_NAT_KEEP_ALIVE_MESSAGE", None,
    {keepalive_message},
    "Sent to phones behind NAT, so that they can be reached; empty sends nothing";
    KEEPALIVE_PERIOD, "SS_SIP_NAT_KEEP_ALIVE_PERIOD", Seconds,
    {whole 10-86400 nat.pace.period_s},
    "No phone behind NAT goes longer than this without a packet; below registrar.nat_expires_max";
    "nat.keepalive_send_one_time", "SS_SIP_NAT_KEEP_ALIVE_SEND_ONE_TIME", None,
    {whole 1-10000 nat.pace.send_one_time},
    "Most keepalives of one interval, unless that could not cover everybody within the period";
    "nat.keepalive_send_interval", "SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL", Milliseconds,
    {whole 1-10000 nat.pace.send_interval_ms},
    "That interval; its keepalives are spread over it";
    "liveness.interval", "", Seconds,
    {optional "0" 10-3600 liveness.interval_s},
    "Each phone is asked once in this time (OPTIONS) whether it is there; 0 asks nobody";
    "liveness.timeout", "", Seconds,
    {whole 1-32 liveness.timeout_s},
    "How long its answer is waited for";
    "liveness.misses", "", None,
    {whole 1-10 liveness.misses},
    "So many checks in a row without an answer make a phone unreachable";
    "liveness.answer", "", None,
    {word LivenessAnswer liveness.answer},
    "Any SIP answer shows that a phone is there, or a 2xx alone";
    "liveness.unreachable", "", None,
    {word Unreachable liveness.unreachable},
    "A phone that is unreachable stays (keep), stays and is listed last, or leaves (remove)";
    "liveness.ignore_silent", "", Seconds,
    {whole 0-86400 liveness.ignore_silent_s},
    "How long REGISTERs of an endpoint that never answered a check are ignored; 0 ignores none";
    "guard.rate", "", None,
    {optional "off" 1-1000000 guard.rate_per_s},
    "SIP requests a second from one source; grows with the accounts that prove themselves from it";
    "guard.burst", "", None,
    {whole 1-1000000 guard.burst},
    "As many of them at once";
    "guard.register_rate", "", None,
    {optional "off" 1-1000000 guard.register_rate_per_s},
    "REGISTERs a second from one source; grows alike";
    "guard.register_burst", "", None,
    {whole 1-1000000 guard.register_burst},
    "As many of them at once";
    "guard.prefix_factor", "", None,
    {whole 1-1000 guard.prefix_factor},
    "So many times the limits of one source all unproven sources of a /24 or /64 have together";
    "guard.loopback", "", None,
    {switch guard.loopback},
    "Limits of rate and the blacklist hold for loopback too";
    "guard.trusted", "", None,
    {list "0-65536 networks" value::guard_networks, guard.trusted},
    "Networks for which no limit, signature or block holds; over UDP an address can be forged";
    "guard.blocked", "", None,
    {list "0-65536 networks" value::guard_networks, guard.blocked},
    "Networks that are not served";
    "guard.scanners", "", None,
    {list "0-64 words of 3-64 bytes" value::scanner_words, guard.scanners},
    "A request whose User-Agent contains one of these, in any case, is dropped without an answer";
    "guard.scanner_patterns", "", None,
    {list "0-64 words of 3-64 bytes" value::scanner_words, guard.scanner_patterns},
    "The same for From, To and Call-ID, where nobody has proved himself from the source";
    "guard.blacklist", "", None,
    {switch guard.blacklist},
    "Sources that fail with many accounts, or scan, are blocked whole for a time";
    "guard.block_score", "", None,
    {whole 10-10000 guard.block_score},
    "The score at which that happens; four proven accounts bear one more of it";
    BLOCK_TIME, "", Seconds,
    {whole 10-86400 guard.block_time_s},
    "The first block of a source; each further one is twice as long";
    BLOCK_TIME_MAX, "", Seconds,
    {whole 10-2592000 guard.block_time_max_s},
    "The longest block";
    GUARD_SOURCES, "", None,
    {whole 1024-16777216 guard.sources_max},
    "Sources of each kind (proven, others, prefixes) that a reactor remembers; 128 bytes for all \
     three, and 24 for one proof of an account, which speaks for 16 sources at a time";
    "overload.admission", "", None,
    {switch guard.overload.admission},
    "When more comes than can be answered, those who have shown least are turned away first";
    OVERLOAD_NEWCOMERS, "", Milliseconds,
    {whole 1-10000 guard.overload.wait_newcomers_ms},
    "Waiting time in a reactor's queue from which newcomers are turned away: some of them, and all \
     at four times as much";
    OVERLOAD_KNOWN, "", Milliseconds,
    {whole 1-10000 guard.overload.wait_known_ms},
    "The same for registrations from where somebody has proved himself, and for old nonces";
    OVERLOAD_PROVEN, "", Milliseconds,
    {whole 1-10000 guard.overload.wait_proven_ms},
    "The same for requests with a fresh nonce that was given to their source";
    "overload.strangers", "", Percent,
    {whole 1-100 guard.overload.strangers_percent},
    "Share of a reactor's time for requests that lead to nothing from where nobody has proved \
     himself; more of them are dropped unread; 100 is no limit";
    "overload.retry_after", "", Seconds,
    {whole 1-600 guard.overload.retry_after_s},
    "Retry-After of the 503 to those who are turned away; drawn from once to three times as much";
    "security.alert_window", "", Seconds,
    {whole 10-86400 guard.alerts.window_s},
    "The time over which alerts count; as long, one that goes on is not told again";
    "security.alert_suspensions", "", None,
    {optional "off" 2-1000 guard.alerts.suspensions},
    "Suspensions of so many accounts within that time are an alert";
    "security.alert_sources", "", None,
    {optional "off" 2-64 guard.alerts.sources},
    "One account used, or tried with wrong passwords, from so many sources is one";
    "security.alert_registrations", "", None,
    {optional "off" 2-10000 guard.alerts.registrations},
    "So many registrations of one account, each within a tenth of the time granted, are one; for \
     each of its bindings";
    SECURITY_LOG, "", None,
    {path serve.security_log},
    "File of security events, a line of JSON each; none unless set";
    SECURITY_LOG_BYTES, "", Bytes,
    {whole 65536-1073741824 serve.security_log_bytes_max},
    "Size at which it is renamed and another begun";
    SECURITY_LOG_FILES, "", None,
    {whole 1-100 serve.security_log_files},
    "How many such files there are, the one that is written to included";
    "geo.database", "", None,
    {databases},
    "MaxMind DB files that say where addresses are: countries, cities, networks; read again when \
     they change";
    "analysis.interval", "", Seconds,
    {optional "off" 60-86400 analysis.interval_s},
    "The registrations are counted by device, place and network once in this time, and when \
     somebody asks";
    "alerts.pending", "", Seconds,
    {whole 0-3600 analysis.alerts.pending_s},
    "What is out of the ordinary must last so long before its alert fires";
    "alerts.hold_off", "", Seconds,
    {whole 0-86400 analysis.alerts.hold_off_s},
    "And be over for so long before the alert is";
    "alerts.repeat", "", Seconds,
    {optional "off" 60-604800 analysis.alerts.repeat_s},
    "An alert that goes on is told again after so long, unless somebody took note of it";
    "alerts.population_min", "", None,
    {whole 1-1000000000 analysis.alerts.population_min},
    "Where fewer are registered, their number may fall and rise";
    "alerts.drop", "", Percent,
    {optional "off" 1-100 analysis.alerts.drop_percent},
    "Registrations so far below what is usual";
    "alerts.spike", "", Percent,
    {optional "off" 1-100000 analysis.alerts.spike_percent},
    "Registrations so far above what is usual";
    "alerts.rate_drop", "", Percent,
    {optional "off" 1-100 analysis.alerts.rate_drop_percent},
    "Successful REGISTERs of a minute so far below what is usual";
    "alerts.rate_spike", "", Percent,
    {optional "off" 1-100000 analysis.alerts.rate_spike_percent},
    "New registrations of a minute so far above what is usual";
    "alerts.failures", "", Percent,
    {optional "off" 1-100 analysis.alerts.failures_percent},
    "REGISTERs of a minute that fail, of all";
    "alerts.source_accounts", "", None,
    {optional "off" 2-100000000 analysis.alerts.source_accounts},
    "Registrations of one source that is not of guard.trusted";
    "alerts.flapping", "", None,
    {optional "off" 1-1000000 analysis.alerts.flapping},
    "Pairs of devices that keep kicking each other, within ten minutes";
    "alerts.capacity", "", Percent,
    {optional "off" 1-100 analysis.alerts.capacity_percent},
    "What is used of the time of a reactor, of registrations, connections or memory";
    "alerts.keepalives", "", Percent,
    {optional "off" 1-100 analysis.alerts.keepalives_percent},
    "Keepalives of five minutes that went out too late";
    "alerts.overload", "", None,
    {switch analysis.alerts.overload},
    "Requests that are shed for want of capacity, and history that cannot be written";
    "alerts.patterns", "", None,
    {switch analysis.alerts.patterns},
    "What security.alert_* finds, and walks through numbers";
    "alerts.webhook", "", None,
    {webhook},
    "Alerts are posted there as JSON, in the form of Alertmanager's webhooks";
    "alerts.webhook_secret_file", "", None,
    {path analysis.alerts.webhook_secret_file},
    "File with the secret that signs them (HMAC-SHA256)";
    "alerts.webhook_ca", "", None,
    {path analysis.alerts.webhook_ca},
    "Certificates (PEM) that vouch for its end of TLS; the system's unless set";
    "shield.kernel", "", None,
    {word Kernel shield.kernel},
    "What drops blocked sources before they reach Aorta: nftables, socket filters, or nothing";
    "shield.helper", "", None,
    {path shield.helper},
    "The socket of aorta-nft, which changes nftables";
    "shield.loopback", "", None,
    {switch shield.loopback},
    "Blocked sources of loopback are dropped by the kernel too";
    "shield.rate", "", None,
    {optional "off" 1-1000000 shield.rate_per_s},
    "Datagrams a second from one source that nftables lets through, which whoever forges its \
     address can use up; holds from the next `aorta shield apply` on, as the next three do";
    "shield.burst", "", None,
    {whole 1-1000000 shield.burst},
    "As many of them at once";
    "shield.register_rate", "", None,
    {optional "off" 1-1000000 shield.register_rate_per_s},
    "REGISTERs a second from one source that nftables lets through";
    "shield.register_burst", "", None,
    {whole 1-1000000 shield.register_burst},
    "As many of them at once";
    "history.enabled", "", None,
    {switch history.enabled},
    "What happens to registrations is kept, and how many there are: in the data directory, or in \
     memory where there is none";
    "history.retention", "", Seconds,
    {whole 3600-315360000 history.retention_s},
    "How long what happened is kept";
    "history.bytes_max", "", Bytes,
    {whole 16777216-4294967295 history.bytes_max},
    "The most that the file of it takes; beyond it the oldest goes";
    "history.memory_bytes_max", "", Bytes,
    {whole 4194304-1073741824 history.memory_bytes_max},
    "The same where there is no data directory";
    "history.buffer_bytes", "", Bytes,
    {whole 65536-1073741824 history.buffer_bytes},
    "Memory of all shards for what has not been written yet; 64 KiB for each at least";
    "history.refresh_every", "", Seconds,
    {optional "off" 1-2592000 history.refresh_every_s},
    "Of the refreshes of a phone that change nothing one in this time is kept";
    "history.trend_seconds", "", Seconds,
    {whole 600-2592000 history.trend_10s_s},
    "How long trends are kept in steps of ten seconds";
    "history.trend_minutes", "", Seconds,
    {whole 3600-31536000 history.trend_1m_s},
    "How long in steps of a minute";
    "history.trend_hours", "", Seconds,
    {whole 86400-315360000 history.trend_1h_s},
    "How long in steps of an hour";
    LISTEN, "", None,
    {list "1-16 of TRANSPORT:ADDRESS:PORT, TRANSPORT being udp, tcp, tls, ws or wss" value::listen,
     serve.listen},
    "Addresses every reactor listens on";
    "serve.subscribers", "", None,
    {path serve.subscribers},
    "Subscriber file, one account a line; a relative path starts at the working directory";
    "serve.test_accounts", "", None,
    {whole 0-100000000 serve.test_accounts},
    "Accounts u1..uN with passwords p1..pN in example.com, for tests only";
    REACTORS, "", None,
    {reactors},
    "Reactors, each pinned to its CPU; auto is one for every allowed CPU";
    CPUS, "", None,
    {cpus},
    "CPUs the reactors are pinned to, in this order";
    BACKEND, "", None,
    {word Backend serve.backend},
    "How datagrams are moved: recvmmsg and sendmmsg, or an io_uring of its own";
    LATENCY_SAMPLING, "", None,
    {optional "off" 1-1000000 serve.latency_sampling},
    "Of so many batches of messages one is timed, stage by stage, for `aorta ctl latency`";
    STEERING, "", None,
    {word Steering serve.steering},
    "Whether the kernel is taught which reactor a phone's datagrams are for, which needs CAP_BPF";
    STEERED_SOURCES, "", None,
    {whole 1024-16777216 serve.steered_sources},
    "Addresses and ports it remembers for that, some 100 bytes of its memory each";
    ADMIN, "", None,
    {admin},
    "Where the admin interface listens; nowhere unless set";
    ADMIN_TOKEN_FILE, "", None,
    {path serve.admin_token_file},
    "File with the token of the admin interface, which is needed beyond loopback";
    "admin.allow", "", None,
    {list "0-64 networks" value::networks, admin.allow},
    "Networks that may reach the admin interface; empty is all of them, and this host always may";
    ADMIN_CERTIFICATE, "", None,
    {path admin.certificate},
    "Certificate chain of the admin interface, PEM; without one it is plain HTTP";
    ADMIN_KEY, "", None,
    {path admin.key},
    "Private key of that certificate, PEM";
    "admin.session_idle", "", Seconds,
    {whole 60-86400 admin.session_idle_s},
    "An operator's session without a request ends after this time";
    "admin.session_max", "", Seconds,
    {whole 300-604800 admin.session_max_s},
    "Any session of an operator ends after this time";
    "admin.password_min", "", None,
    {whole 8-128 admin.password_min},
    "Characters of the shortest password that operators may choose";
    "admin.login_failures", "", None,
    {whole 1-100 admin.login_failures},
    "Wrong passwords for one name from one source before it waits, longer with each further one";
    AUDIT_BYTES, "", Bytes,
    {whole 65536-134217728 admin.audit_bytes},
    "An audit file of this size is put aside and the next begun";
    AUDIT_FILES, "", None,
    {whole 1-1000 admin.audit_files},
    "How many audit files that were put aside are kept";
    "streams.connections_max", "", None,
    {whole 1-10000000 streams.connections_max},
    "Connections of the whole process; each reactor takes its share";
    "streams.connections_per_source_max", "", None,
    {whole 1-10000000 streams.connections_per_source_max},
    "Connections from one source address; an office of many phones is one address";
    "streams.first_byte_timeout", "", Seconds,
    {whole 1-3600 streams.first_byte_timeout_s},
    "From the accepted connection to the first byte of SIP, handshakes included";
    "streams.authentication_timeout", "", Seconds,
    {whole 1-3600 streams.authentication_timeout_s},
    "From the accepted connection to a request that passed authentication";
    "streams.idle_timeout", "", Seconds,
    {whole 10-172800 streams.idle_timeout_s},
    "Silence after which a connection is closed; longer than a registration, or phones without \
     keepalive lose their flow before they refresh";
    "streams.message_bytes_max", "", Bytes,
    {whole 1300-65535 streams.message_bytes_max},
    "Longest message of a connection";
    "streams.write_queue_bytes_max", "", Bytes,
    {whole 65536-16777216 streams.write_queue_bytes_max},
    "What may wait for a slow reader before its connection is closed";
    TLS_CERTIFICATE, "", None,
    {path streams.tls.certificate},
    "Certificate chain of tls and wss listeners, PEM";
    TLS_KEY, "", None,
    {path streams.tls.key},
    "Private key of the certificate, PEM";
    TLS_CLIENT_CA, "", None,
    {path streams.tls.client_ca},
    "Certificates of the authorities that sign client certificates, PEM";
    TLS_CLIENT_AUTH, "", None,
    {word ClientAuth streams.tls.client_auth},
    "Whether TLS clients are asked for a certificate";
    "websocket.origins", "", None,
    {list "0-64 origins such as https://phone.example.com" value::origins,
     streams.websocket.origins},
    "Origins whose pages may open a WebSocket; any unless set";
];

const _: () = assert!(SHARDS_MAX == 128, "the range of serve.reactors says so");
const _: () = assert!(BINDINGS_MAX == 64, "the range of registrar.bindings_max says so");
const _: () = assert!(LISTENERS_MAX == 16, "the range of serve.listen says so");
const _: () = assert!(SERVICE_ROUTES_MAX == 4, "the range of registrar.service_route says so");
const _: () = assert!(NETWORKS_MAX == 64, "the range of registrar.watchers says so");
const _: () = assert!(KEEPALIVE_BYTES_MAX == 256, "the range of nat.keepalive_message says so");
const _: () = assert!(GUARD_NETWORKS_MAX == 65_536, "the range of guard.trusted says so");
const _: () = assert!(
    SCANNER_WORDS_MAX == 64 && SCANNER_WORD_BYTES_MIN == 3 && SCANNER_WORD_BYTES_MAX == 64,
    "the range of guard.scanners says so"
);
const _: () = assert!(ORIGINS_MAX == 64, "the range of websocket.origins says so");
const _: () =
    assert!(MESSAGE_BYTES_MAX == 65_535, "the range of streams.message_bytes_max says so");
const _: () = assert!(RESPONSE_BYTES_MAX <= 65_536, "the write queue takes any response");

/// A number whose range the table has checked, as its field holds it.
fn narrow<T: TryFrom<u32>>(number: u32) -> T {
    T::try_from(number).ok().expect("the table's range fits the field")
}

/// The parameter with this key or alias, in any case.
#[must_use]
pub fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.is_named(name))
}

/// Every key and alias.
fn names() -> impl Iterator<Item = &'static str> + Clone {
    let spellings = SPELLINGS.iter().map(|&(spelling, _)| spelling);
    PARAMETERS
        .iter()
        .flat_map(|p| [p.key, p.alias])
        .filter(|name| !name.is_empty())
        .chain(spellings)
}

/// An unknown name, with the known one it resembles.
pub(super) fn unknown(name: &str, origin: Origin) -> Refusal {
    let nearest = nearest(name, names()).map(str::to_owned);
    Refusal { origin, key: name.to_owned(), fault: Fault::Unknown { nearest } }
}

/// Its row in the table.
pub(super) fn index(parameter: &'static Parameter) -> usize {
    PARAMETERS.iter().position(|row| row.key == parameter.key).expect("a row of the table")
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
