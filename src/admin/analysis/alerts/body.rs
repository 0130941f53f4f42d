//! An alert as it is posted: the form of Alertmanager's webhooks, version 4, with one alert in each
//! message, so that whoever takes those takes these.

use serde::Serialize;

use super::super::super::moment::rfc3339;
use super::book::Told;
use super::watch::Change;
use crate::time::UnixTime;

#[derive(Serialize)]
struct Message<'a> {
    version: &'static str,
    #[serde(rename = "groupKey")]
    group_key: String,
    #[serde(rename = "truncatedAlerts")]
    truncated_alerts: u32,
    status: &'static str,
    receiver: &'static str,
    #[serde(rename = "groupLabels")]
    group_labels: Group,
    #[serde(rename = "commonLabels")]
    common_labels: Labels<'a>,
    #[serde(rename = "commonAnnotations")]
    common_annotations: Annotations<'a>,
    #[serde(rename = "externalURL")]
    external_url: &'static str,
    alerts: [Alert<'a>; 1],
}

#[derive(Serialize)]
struct Group {
    alertname: &'static str,
}

#[derive(Clone, Serialize)]
struct Labels<'a> {
    alertname: &'static str,
    severity: &'static str,
    instance: &'a str,
}

#[derive(Clone, Serialize)]
struct Annotations<'a> {
    summary: &'static str,
    description: &'a str,
    value: String,
    threshold: String,
}

#[derive(Serialize)]
struct Alert<'a> {
    status: &'static str,
    labels: Labels<'a>,
    annotations: Annotations<'a>,
    #[serde(rename = "startsAt")]
    starts_at: String,
    #[serde(rename = "endsAt")]
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'static str,
    fingerprint: String,
}

/// The message about a change, as JSON. `instance` says which registrar it is.
pub(super) fn body(told: &Told, instance: &str) -> Vec<u8> {
    let status = if told.change == Change::Resolved { "resolved" } else { "firing" };
    let rule = told.rule;
    let labels = Labels { alertname: rule.word(), severity: rule.severity().word(), instance };
    let rounded = |value: f64| ((value * 100.0).round() / 100.0).to_string();
    let annotations = Annotations {
        summary: rule.about(),
        description: &told.said.said,
        value: rounded(told.said.value),
        threshold: rounded(told.said.threshold),
    };
    let alert = Alert {
        status,
        labels: labels.clone(),
        annotations: annotations.clone(),
        starts_at: rfc3339(told.started),
        // What has no end has this in that form.
        ends_at: told.ended.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339),
        generator_url: "",
        fingerprint: fingerprint(rule.word(), instance, told.started),
    };
    let message = Message {
        version: "4",
        group_key: format!("aorta/{}", rule.word()),
        truncated_alerts: 0,
        status,
        receiver: "aorta",
        group_labels: Group { alertname: rule.word() },
        common_labels: labels,
        common_annotations: annotations,
        external_url: "",
        alerts: [alert],
    };
    // Texts and numbers always can be written.
    serde_json::to_vec(&message).unwrap_or_default()
}

/// The same for every message about one alert, and for no other.
fn fingerprint(rule: &str, instance: &str, started: UnixTime) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{instance}\n{rule}\n{}", started.0));
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::rule::{Measured, Rule};
    use super::*;

    #[test]
    fn a_message_has_the_form_that_receivers_know() {
        let mut told = Told {
            rule: Rule::Failures,
            change: Change::Fired,
            said: Measured { value: 33.333, threshold: 20.0, said: "1 of 3 \"x\"".into() },
            started: UnixTime(1_793_491_200),
            ended: None,
        };
        let read = |told: &Told| -> serde_json::Value {
            serde_json::from_slice(&body(told, "host-1")).expect("JSON")
        };
        let fired = read(&told);
        assert_eq!((&fired["version"], &fired["status"]), (&"4".into(), &"firing".into()));
        let alert = &fired["alerts"][0];
        assert_eq!(alert["labels"]["alertname"], "failures");
        assert_eq!(alert["labels"]["instance"], "host-1");
        assert_eq!(alert["annotations"]["description"], "1 of 3 \"x\"");
        assert_eq!(alert["annotations"]["value"], "33.33");
        assert_eq!(alert["startsAt"], "2026-11-01T00:00:00Z");
        assert_eq!(alert["endsAt"], "0001-01-01T00:00:00Z");
        told.change = Change::Resolved;
        told.ended = Some(UnixTime(1_793_491_260));
        let resolved = read(&told);
        assert_eq!(resolved["status"], "resolved");
        assert_eq!(resolved["alerts"][0]["endsAt"], "2026-11-01T00:01:00Z");
        assert_eq!(resolved["alerts"][0]["fingerprint"], alert["fingerprint"]);
    }
}
