//! `coverage`: which endpoints of a table a running server has.
//!
//! A table is a TSV file with a line of column names, `method` and `path` among them, and where it
//! has them `api` (only `client-server` counts, unless all are asked for) and `module`. Requests
//! carry no token, so they change nothing. An endpoint counts as present unless the answer is 405
//! or a 404 that says the endpoint is unknown.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::http::{Answer, Target};
use crate::lyceum::{Lyceum, release_binary};
use crate::steps::say;

pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<bool> {
    let (mut file, mut url, mut all_apis) = (None, None, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--url" => url = Some(rest.next().context("--url needs a value")?),
            "--all-apis" => all_apis = true,
            _ if file.is_none() && !argument.starts_with("--") => file = Some(argument),
            _ => bail!("unknown argument {argument}; `cargo xtask help` lists them"),
        }
    }
    let file = file.context("coverage needs a table: FILE.tsv")?;
    let text = std::fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let endpoints = endpoints(&text, all_apis)?;
    let (target, _server) = match url {
        Some(url) => (Target::parse(url)?, None),
        None => {
            let binary = release_binary(root)?.context("the server does not compile")?;
            let server = Lyceum::start(&binary)?;
            (server.target, Some(server))
        }
    };
    let mut modules: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut absent = Vec::new();
    for endpoint in &endpoints {
        let path = concrete_path(&endpoint.path);
        let body = if endpoint.method == "GET" { "" } else { "{}" };
        let answer = target.ask(&endpoint.method, &path, body)?;
        let (present, total) = modules.entry(&endpoint.module).or_default();
        *total += 1;
        if is_present(&answer) {
            *present += 1;
        } else {
            absent.push(format!(
                "{:6} {}  ({})",
                endpoint.method, endpoint.path, answer.status
            ));
        }
    }
    for (module, (present, total)) in &modules {
        say(&format!("{present:4} of {total:4}  {module}"));
    }
    if !absent.is_empty() {
        say("\nAbsent:");
    }
    for line in &absent {
        say(line);
    }
    let present = endpoints.len() - absent.len();
    say(&format!(
        "\n{present} of {} endpoints are there",
        endpoints.len()
    ));
    Ok(absent.is_empty())
}

#[derive(Debug, PartialEq, Eq)]
struct Endpoint {
    method: String,
    path: String,
    module: String,
}

fn endpoints(table: &str, all_apis: bool) -> Result<Vec<Endpoint>> {
    let mut lines = table.lines();
    let names: Vec<&str> = lines
        .next()
        .context("the table is empty")?
        .split('\t')
        .collect();
    let column = |name: &str| names.iter().position(|found| *found == name);
    let method = column("method").context("no column method")?;
    let path = column("path").context("no column path")?;
    let (api, module) = (column("api"), column("module"));
    let mut endpoints = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |index: usize| cells.get(index).copied().unwrap_or_default();
        if !all_apis && api.is_some_and(|api| cell(api) != "client-server") {
            continue;
        }
        endpoints.push(Endpoint {
            method: cell(method).to_owned(),
            path: cell(path).to_owned(),
            module: module.map_or_else(|| folder_of(cell(path)), |module| cell(module).to_owned()),
        });
    }
    Ok(endpoints)
}

/// The part of a path that groups it, for tables without modules.
fn folder_of(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && !part.starts_with('{'))
        .collect();
    let is_version = |part: &str| {
        part.strip_prefix(['v', 'r'])
            .is_some_and(|rest| rest.chars().all(|letter| letter.is_ascii_digit()))
    };
    match parts.iter().position(|part| is_version(part)) {
        Some(version) => parts
            .get(version + 1)
            .copied()
            .unwrap_or_default()
            .to_owned(),
        None => parts.join("/"),
    }
}

/// The path with something that looks right in each variable's place.
fn concrete_path(path: &str) -> String {
    let mut concrete = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        concrete.push_str(before);
        concrete.push_str(example(name));
        rest = tail;
    }
    concrete.push_str(rest);
    concrete
}

fn example(variable: &str) -> &'static str {
    match variable.to_ascii_lowercase().replace('_', "").as_str() {
        "userid" => "%40nobody%3Axtask.localhost",
        "roomid" | "roomidoralias" => "%21nowhere%3Axtask.localhost",
        "roomalias" => "%23nowhere%3Axtask.localhost",
        "eventid" => "%24nothing",
        "servername" | "destination" => "xtask.localhost",
        "eventtype" => "m.room.message",
        "receipttype" => "m.read",
        "reltype" => "m.thread",
        "keyname" => "displayname",
        "kind" => "override",
        "scope" => "global",
        "medium" => "email",
        _ => "x",
    }
}

fn is_present(answer: &Answer) -> bool {
    match answer.status {
        405 => false,
        404 => match serde_json::from_slice::<Value>(&answer.body) {
            Ok(body) => body["errcode"]
                .as_str()
                .is_some_and(|code| code != "M_UNRECOGNIZED"),
            Err(_) => false,
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_by_their_column_names() {
        let table = "api\tmethod\tpath\tmodule\n\
                     client-server\tGET\t/a/{userId}\tAccounts\n\
                     server-server\tPUT\t/b\tFederation\n";
        let of_clients = endpoints(table, false).unwrap();
        assert_eq!(of_clients.len(), 1);
        assert_eq!(of_clients[0].module, "Accounts");
        assert_eq!(endpoints(table, true).unwrap().len(), 2);
        let admin = "method\tpath\tpurpose\nGET\t/_synapse/admin/v1/rooms/{room_id}/block\tx\n";
        assert_eq!(endpoints(admin, false).unwrap()[0].module, "rooms");
        assert!(endpoints("a\tb\n", false).is_err());
    }

    #[test]
    fn variables_are_filled() {
        assert_eq!(
            concrete_path("/rooms/{roomId}/send/{eventType}/{txnId}"),
            "/rooms/%21nowhere%3Axtask.localhost/send/m.room.message/x"
        );
        assert_eq!(concrete_path("/versions"), "/versions");
    }

    #[test]
    fn presence() {
        let check = |status: u16, body: &str, expect: bool| {
            let answer = Answer {
                status,
                body: body.as_bytes().to_vec(),
            };
            assert_eq!(is_present(&answer), expect, "{status} {body}");
        };
        check(401, r#"{"errcode":"M_MISSING_TOKEN"}"#, true);
        check(404, r#"{"errcode":"M_NOT_FOUND"}"#, true);
        check(404, r#"{"errcode":"M_UNRECOGNIZED"}"#, false);
        check(404, "<html>", false);
        check(405, r#"{"errcode":"M_UNRECOGNIZED"}"#, false);
        check(200, "", true);
    }
}
