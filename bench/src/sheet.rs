//! The results: figures of each server side by side, with ratios, as a table and as JSON.
//!
//! A figure stands for itself only beside the others of the same run. What could not be measured
//! stays empty and has a note; it never becomes a zero.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

/// The column of the machine's floor.
pub(crate) const FLOOR: &str = "floor";

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
    /// Stated only, such as a size that was reached.
    Neither,
}

/// What a row measures.
#[derive(Debug, Clone)]
struct Row {
    id: String,
    label: String,
    unit: &'static str,
    better: Better,
    values: BTreeMap<String, f64>,
}

/// What is said about one server beside its figures.
#[derive(Debug, Clone)]
struct Note {
    server: String,
    text: String,
    is_failure: bool,
}

/// All results of one run.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    servers: Vec<String>,
    about: BTreeMap<String, Value>,
    rows: Vec<Row>,
    notes: Vec<Note>,
}

impl Sheet {
    pub(crate) fn new(servers: Vec<String>) -> Self {
        Sheet {
            servers,
            ..Sheet::default()
        }
    }

    /// Describes a server, such as its durability.
    pub(crate) fn describe(&mut self, server: &str, about: Value) {
        self.about.insert(server.to_owned(), about);
    }

    pub(crate) fn put(
        &mut self,
        server: &str,
        (id, label): (impl Into<String>, impl Into<String>),
        (unit, better): (&'static str, Better),
        value: f64,
    ) {
        let id = id.into();
        let row = match self.rows.iter_mut().find(|row| row.id == id) {
            Some(row) => row,
            None => {
                let row = Row {
                    id,
                    label: label.into(),
                    unit,
                    better,
                    values: BTreeMap::new(),
                };
                self.rows.push(row);
                self.rows.last_mut().expect("a row has just been pushed")
            }
        };
        row.values.insert(server.to_owned(), value);
    }

    /// Something the reader of the figures must know.
    pub(crate) fn note(&mut self, server: &str, text: impl Into<String>) {
        self.notes.push(Note {
            server: server.to_owned(),
            text: text.into(),
            is_failure: false,
        });
    }

    /// Something that should have been measured or verified and was not.
    pub(crate) fn fail(&mut self, server: &str, text: impl Into<String>) {
        self.notes.push(Note {
            server: server.to_owned(),
            text: text.into(),
            is_failure: true,
        });
    }

    pub(crate) fn failures(&self, server: &str) -> usize {
        self.notes
            .iter()
            .filter(|note| note.is_failure && note.server == server)
            .count()
    }

    fn value(&self, id: &str, server: &str) -> Option<f64> {
        self.rows
            .iter()
            .find(|row| row.id == id)?
            .values
            .get(server)
            .copied()
    }

    /// The figures for people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let mut columns = self.servers.clone();
        if self.rows.iter().any(|row| row.values.contains_key(FLOOR)) {
            columns.push(FLOOR.to_owned());
        }
        let first = self.servers.first().cloned().unwrap_or_default();
        let peers: Vec<String> = self.servers.iter().skip(1).cloned().collect();
        let label_width = self
            .rows
            .iter()
            .map(|row| row.label.len() + row.unit.len() + 2)
            .max()
            .unwrap_or(20);
        let _ = write!(text, "{:label_width$}", "");
        for column in &columns {
            let _ = write!(text, " {column:>12}");
        }
        for peer in &peers {
            let _ = write!(text, " {:>16}", format!("better than {peer}"));
        }
        text.push('\n');
        for row in &self.rows {
            let label = match row.unit {
                "" => row.label.clone(),
                unit => format!("{}, {unit}", row.label),
            };
            let _ = write!(text, "{label:label_width$}");
            for column in &columns {
                let value = row
                    .values
                    .get(column)
                    .map_or("-".to_owned(), |value| figure(*value));
                let _ = write!(text, " {value:>12}");
            }
            for peer in &peers {
                let better = row
                    .ratio(&first, peer)
                    .map_or(String::new(), |ratio| format!("× {}", figure(ratio)));
                let width = 16.max("better than ".len() + peer.len());
                let _ = write!(text, " {better:>width$}");
            }
            text.push('\n');
        }
        for (title, wanted) in [("Notes", false), ("Failed", true)] {
            let mut notes = self
                .notes
                .iter()
                .filter(|note| note.is_failure == wanted)
                .peekable();
            if notes.peek().is_some() {
                let _ = write!(text, "\n{title}\n");
            }
            for note in notes {
                let _ = writeln!(text, "- {}: {}", note.server, note.text);
            }
        }
        text.push_str("\nServers\n");
        for server in &self.servers {
            let about = self.about.get(server).cloned().unwrap_or_default();
            let durability = about["durability"].as_str().unwrap_or("unknown").to_owned();
            let _ = writeln!(text, "- {server}: {durability}");
        }
        let targets = self.targets();
        if !targets.is_empty() {
            let _ = write!(text, "\nTargets of {first}\n");
        }
        for target in targets {
            let verdict = if target.is_met { "met  " } else { "SHORT" };
            let _ = writeln!(text, "{verdict} {}: {}", target.text, target.measured);
        }
        text
    }

    /// The figures for machines.
    pub(crate) fn json(&self, run: &Value) -> Value {
        let first = self.servers.first().cloned().unwrap_or_default();
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let ratios: BTreeMap<&String, f64> = self
                    .servers
                    .iter()
                    .skip(1)
                    .filter_map(|peer| Some((peer, row.ratio(&first, peer)?)))
                    .collect();
                json!({
                    "id": row.id,
                    "label": row.label,
                    "unit": row.unit,
                    "better": match row.better {
                        Better::Higher => "higher",
                        Better::Lower => "lower",
                        Better::Neither => "neither",
                    },
                    "values": row.values,
                    "better_by": ratios,
                })
            })
            .collect();
        let notes: Vec<Value> = self
            .notes
            .iter()
            .map(|note| {
                json!({ "server": note.server, "text": note.text, "is_failure": note.is_failure })
            })
            .collect();
        let targets: Vec<Value> = self
            .targets()
            .into_iter()
            .map(|target| {
                json!({ "target": target.text, "measured": target.measured, "is_met": target.is_met })
            })
            .collect();
        json!({
            "run": run,
            "servers": self.servers,
            "about": self.about,
            "rows": rows,
            "notes": notes,
            "targets": targets,
        })
    }

    /// What the first server shall reach, as far as this run measured it.
    fn targets(&self) -> Vec<Target> {
        let Some(ours) = self.servers.first() else {
            return Vec::new();
        };
        let mut targets = Vec::new();
        let send_ten = self.value("send.one.10.rate", ours);
        if let (Some(rate), Some(floor)) = (send_ten, self.value("send.one.10.rate", FLOOR)) {
            targets.push(Target {
                text: "send, 10 in flight, at least 1/5 of the floor".to_owned(),
                measured: format!("1/{}", figure(floor / rate)),
                is_met: rate * 5.0 >= floor,
            });
        }
        for peer in self
            .servers
            .iter()
            .skip(1)
            .filter(|peer| peer.as_str() == "synapse")
        {
            for (id, text, wanted) in [
                ("send.one.10.rate", "send, 10 in flight", 100.0),
                ("deliver.1.ms", "delivery to one receiver", 50.0),
                ("deliver.50.ms", "delivery to 50 receivers", 100.0),
                ("sync.initial.ms", "initial sync of 50 rooms", 100.0),
            ] {
                let row = self.rows.iter().find(|row| row.id == id);
                let Some(ratio) = row.and_then(|row| row.ratio(ours, peer)) else {
                    continue;
                };
                targets.push(Target {
                    text: format!("{text}, at least {wanted} times better than {peer}"),
                    measured: format!("{} times", figure(ratio)),
                    is_met: ratio >= wanted,
                });
            }
        }
        for (id, text, wanted, unit) in [
            ("start.ms", "start to first answer", 100.0, "ms"),
            ("memory.start.mib", "resident at start", 40.0, "MiB"),
            (
                "memory.end.mib",
                "resident after the whole run",
                100.0,
                "MiB",
            ),
            (
                "disk.message.bytes",
                "disk a short message",
                1024.0,
                "bytes",
            ),
        ] {
            let Some(value) = self.value(id, ours) else {
                continue;
            };
            targets.push(Target {
                text: format!("{text}, at most {} {unit}", figure(wanted)),
                measured: format!("{} {unit}", figure(value)),
                is_met: value <= wanted,
            });
        }
        targets
    }
}

#[derive(Debug)]
struct Target {
    text: String,
    measured: String,
    is_met: bool,
}

impl Row {
    /// How many times better the first server's figure is than the other's.
    fn ratio(&self, first: &str, other: &str) -> Option<f64> {
        let (first, other) = (*self.values.get(first)?, *self.values.get(other)?);
        match self.better {
            Better::Higher if other > 0.0 => Some(first / other),
            Better::Lower if first > 0.0 => Some(other / first),
            _ => None,
        }
    }
}

/// A number with three significant digits where it has a fraction.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_say_how_much_better_the_first_is() {
        let mut sheet = Sheet::new(vec!["lyceum".to_owned(), "synapse".to_owned()]);
        for (server, rate, ms) in [("lyceum", 4000.0, 1.0), ("synapse", 40.0, 68.0)] {
            let id = ("send.one.10.rate", "send, one room, 10 in flight");
            sheet.put(server, id, ("/s", Better::Higher), rate);
            sheet.put(
                server,
                ("deliver.1.ms", "delivery"),
                ("ms", Better::Lower),
                ms,
            );
        }
        sheet.put(
            FLOOR,
            ("send.one.10.rate", ""),
            ("/s", Better::Higher),
            20_600.0,
        );
        let json = sheet.json(&json!({}));
        assert_eq!(json["rows"][0]["better_by"]["synapse"], 100.0);
        assert_eq!(json["rows"][1]["better_by"]["synapse"], 68.0);
        let verdicts: Vec<_> = json["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|target| {
                (
                    target["measured"].as_str().unwrap(),
                    target["is_met"].as_bool().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            verdicts,
            [("1/5.15", false), ("100 times", true), ("68.0 times", true)]
        );
        assert!(sheet.table().contains("× 68.0"));
    }

    #[test]
    fn what_was_not_measured_is_not_compared() {
        let mut sheet = Sheet::new(vec!["lyceum".to_owned(), "synapse".to_owned()]);
        sheet.put(
            "lyceum",
            ("start.ms", "start"),
            ("ms", Better::Lower),
            120.0,
        );
        let json = sheet.json(&json!({}));
        assert_eq!(json["rows"][0]["better_by"], json!({}));
        assert_eq!(json["targets"][0]["is_met"], false);
    }
}
