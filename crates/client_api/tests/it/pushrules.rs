//! `/pushrules/…`.

use serde_json::{Value, json};

use crate::harness::TestServer;

fn ids(rules: &Value) -> Vec<&str> {
    let rules = rules.as_array().unwrap();
    rules
        .iter()
        .map(|rule| rule["rule_id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn default_rules_are_there() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    for path in ["/v3/pushrules/", "/r0/pushrules/", "/v3/pushrules"] {
        let rules = alice.get(path).await.ok();
        assert_eq!(ids(&rules["global"]["override"])[0], ".m.rule.master");
    }
    let global = alice.get("/v3/pushrules/global/").await.ok();
    assert!(ids(&global["underride"]).contains(&".m.rule.message"));
    for path in ["", "/enabled", "/actions"] {
        let path = format!("/v3/pushrules/global/no_such_kind/rule{path}");
        alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
    }
    let master = alice
        .get("/v3/pushrules/global/override/.m.rule.master")
        .await
        .ok();
    assert_eq!(master["enabled"], false);
    let data = alice
        .get(&format!(
            "/v3/user/{}/account_data/m.push_rules",
            alice.user_id
        ))
        .await;
    assert_eq!(data.ok()["global"], global);
}

#[tokio::test]
async fn rules_are_made_ordered_changed_and_deleted() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let rule = |pattern: &str| json!({ "pattern": pattern, "actions": ["notify"] });
    let base = "/v3/pushrules/global/content";
    alice
        .put(&format!("{base}/one"), rule("one"))
        .await
        .expect(200, json!({}));
    alice
        .put(&format!("{base}/two?after=one"), rule("two"))
        .await
        .expect(200, json!({}));
    let three = format!("{base}/three?before=one");
    alice
        .put(&three, rule("three"))
        .await
        .expect(200, json!({}));
    let rules = alice.get(base).await.ok();
    assert_eq!(ids(&rules)[..3], ["three", "one", "two"]);

    let path = format!("{base}/one/enabled");
    alice
        .put(&path, json!({ "enabled": false }))
        .await
        .expect(200, json!({}));
    alice
        .get(&path)
        .await
        .expect(200, json!({ "enabled": false }));
    let path = format!("{base}/one/actions");
    let actions = json!({ "actions": ["notify", { "set_tweak": "highlight" }] });
    alice
        .put(&path, actions.clone())
        .await
        .expect(200, json!({}));
    alice.get(&path).await.expect(200, actions);

    let path = format!("{base}/one");
    alice.delete(&path, json!({})).await.expect(200, json!({}));
    alice.get(&path).await.expect_error(404, "M_NOT_FOUND");
    alice
        .delete(&path, json!({}))
        .await
        .expect_error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn default_rules_can_be_switched() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let path = "/v3/pushrules/global/underride/.m.rule.message";
    let switch = format!("{path}/enabled");
    alice
        .put(&switch, json!({ "enabled": false }))
        .await
        .expect(200, json!({}));
    assert_eq!(alice.get(path).await.ok()["enabled"], false);
    let refused = alice.delete(path, json!({})).await;
    assert!(matches!(refused.status, 400 | 404), "{refused:?}");
}

#[tokio::test]
async fn bad_rules_are_refused() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let refused = alice
        .put("/v3/pushrules/global/nothing/x", json!({ "actions": [] }))
        .await;
    refused.expect_error(400, "M_INVALID_PARAM");
    let cases = [
        ("content/x", json!({})),
        ("content/x", json!({ "actions": ["notify"] })),
        ("content/x", json!({ "pattern": "x", "actions": "notify" })),
        (
            "content/.x",
            json!({ "pattern": "x", "actions": ["notify"] }),
        ),
        (
            "override/x",
            json!({ "conditions": 1, "actions": ["notify"] }),
        ),
    ];
    for (path, body) in cases {
        let refused = alice
            .put(&format!("/v3/pushrules/global/{path}"), body)
            .await;
        assert_eq!(refused.status, 400, "{path}: {refused:?}");
    }
    let device = alice.get("/v3/pushrules/device/").await;
    device.expect_error(404, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_kept() {
    let server = TestServer::start().await;
    let alice = server.user("alice").await;
    let put = |name: &str| {
        let alice = alice.clone();
        let path = format!("/v3/pushrules/global/content/{name}");
        async move {
            let rule = json!({ "pattern": "x", "actions": ["notify"] });
            alice.put(&path, rule).await.ok()
        }
    };
    futures_util::future::join_all(["a", "b", "c", "d"].map(put)).await;
    let rules = alice.get("/v3/pushrules/global/content").await.ok();
    let ids = ids(&rules);
    for name in ["a", "b", "c", "d"] {
        assert!(ids.contains(&name), "{ids:?}");
    }
}
