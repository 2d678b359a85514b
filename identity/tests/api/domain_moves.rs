//! The users and groups of a domain move into a database of their own and back, whole, whatever the move is cut by.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anello_identity::Error;
use anello_identity::records::{Expect, Kind, Records};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::databases::{Company, driver, ids, url};

async fn go(cloud: &Cloud, to: &str) -> Result<Option<usize>, Error> {
    cloud.room.migrate_domain("company", to, Duration::ZERO).await
}

/// Ann, with the mail that she was given last.
async fn mail(company: &Company, cloud: &Cloud) -> Value {
    let admin = cloud.admin_token().await;
    cloud.want(200, &admin, "GET", &format!("/v3/users/{}", company.user), None).await["user"]["email"].clone()
}

async fn give_mail(company: &Company, cloud: &Cloud, status: u16, mail: &str) {
    let admin = cloud.admin_token().await;
    let body = json!({"user": {"email": mail}});
    cloud.want(status, &admin, "PATCH", &format!("/v3/users/{}", company.user), Some(body)).await;
}

/// Ann and her group are in the database alone, or (`None`) with everything else alone.
async fn check_place(company: &Company, database: Option<&str>) {
    let one = company.database("one").await;
    let at_home = usize::from(database.is_some());
    assert_eq!((ids(&one, Kind::User).await.len(), ids(&one, Kind::Group).await.len()), (at_home, at_home));
    let main = &company.cloud.records;
    assert_eq!((ids(main, Kind::User).await.len(), ids(main, Kind::Group).await.len()), (2 - at_home, 1 - at_home));
}

#[tokio::test]
async fn a_domain_moves_into_its_database_and_back_while_its_users_log_in() {
    for company in Company::of_each(None).await {
        let cloud = &company.cloud;
        let admin = cloud.admin_token().await;
        let token = company.login(cloud).await.expect("logs in");
        let path = format!("/v3/domains/{}/config", company.domain);
        cloud.want(409, &admin, "PUT", &path, driver("one")).await;
        assert_eq!(go(cloud, "one").await.expect("moves"), Some(2));
        check_place(&company, Some("one")).await;
        let config = cloud.want(200, &admin, "GET", &path, None).await;
        assert_eq!(config, driver("one").expect("a configuration"));
        cloud.want(200, &token, "GET", "/v3/auth/projects", None).await;
        for cloud in [cloud, &company.again().await] {
            assert!(company.login(cloud).await.is_ok());
            let twice = json!({"user": {"name": "ann", "domain_id": company.domain}});
            cloud.want(409, &admin, "POST", "/v3/users", Some(twice)).await;
        }
        give_mail(&company, cloud, 200, "one@example.org").await;
        assert!(go(cloud, "one").await.is_err(), "they are there");
        assert!(go(cloud, "two").await.is_err(), "by way of main");
        assert!(go(cloud, "unheard-of").await.is_err());
        assert_eq!(go(cloud, "main").await.expect("moves"), Some(2));
        check_place(&company, None).await;
        cloud.want(404, &admin, "GET", &path, None).await;
        for cloud in [cloud, &company.again().await] {
            assert!(company.login(cloud).await.is_ok());
            assert_eq!(mail(&company, cloud).await, "one@example.org");
        }
        give_mail(&company, cloud, 200, "two@example.org").await;
    }
}

/// Moves with every write failing from the `writes`th on, as when the process is killed there; whether it arrived.
async fn cut(company: &Company, cloud: &Cloud, to: &str, writes: usize) -> bool {
    company.cloud.records.stop_after(Some(writes));
    let moved = go(cloud, to).await;
    company.cloud.records.stop_after(None);
    moved.is_ok()
}

#[tokio::test]
async fn a_move_that_is_killed_anywhere_loses_nobody_and_is_finished_by_the_same_command() {
    for (from, to) in [(None, "one"), (Some("one"), "main")] {
        for writes in 0.. {
            let company = Company::with(None, from).await;
            let has_moved = cut(&company, &company.cloud, to, writes).await;
            let again = company.again().await;
            assert!(company.login(&again).await.is_ok(), "{to}: killed after {writes} writes");
            if !has_moved {
                let done = go(&again, to).await.map(|_| ()).map_err(|error| error.to_string());
                let was_done = |error: &String| error.contains("are there already");
                assert!(done.is_ok() || done.as_ref().is_err_and(was_done), "killed after {writes} writes: {done:?}");
            }
            check_place(&company, Some(to).filter(|to| *to == "one")).await;
            give_mail(&company, &again, 200, "new@example.org").await;
            assert!(company.login(&company.again().await).await.is_ok(), "{to}: killed after {writes} writes");
            if has_moved {
                assert!(writes > 3, "there was something to cut");
                break;
            }
        }
    }
}

#[tokio::test]
async fn nobody_on_the_way_is_changed_and_what_a_slow_host_still_wrote_goes_along() {
    let company = Company::with(None, None).await;
    let (here, slow) = (&company.cloud, company.again().await);
    give_mail(&company, here, 200, "old@example.org").await;
    slow.room.refresh().await.expect("reads");
    // Copied, and not arrived.
    assert!(!cut(&company, here, "one", 1).await);
    let admin = here.admin_token().await;
    let (user, domain) = (format!("/v3/users/{}", company.user), format!("/v3/domains/{}", company.domain));
    give_mail(&company, here, 503, "lost@example.org").await;
    here.want(503, &admin, "DELETE", &user, None).await;
    let new = json!({"user": {"name": "new", "domain_id": company.domain}});
    here.want(503, &admin, "POST", "/v3/users", Some(new)).await;
    let option = json!({"config": {"identity": {"list_limit": 5}}});
    here.want(503, &admin, "PUT", &format!("{domain}/config"), Some(option)).await;
    here.want(503, &admin, "DELETE", &format!("{domain}/config"), None).await;
    here.want(200, &admin, "PATCH", &domain, Some(json!({"domain": {"enabled": false}}))).await;
    here.want(503, &admin, "DELETE", &domain, None).await;
    here.want(200, &admin, "PATCH", &domain, Some(json!({"domain": {"enabled": true}}))).await;
    let person = here.person(&admin, "somebody-else", "member").await;
    assert!(here.login(&person).await.is_ok(), "others are changed");
    // A copy was lost, too.
    let one = company.database("one").await;
    let group = ids(&one, Kind::Group).await.remove(0);
    one.delete(Kind::Group, &group, Expect::Anything).await.expect("deleted");
    give_mail(&company, &slow, 200, "late@example.org").await;
    assert!(go(here, "two").await.is_err(), "another way");
    assert_eq!(go(here, "one").await.expect("goes on"), Some(2));
    for cloud in [here, &slow] {
        cloud.room.refresh().await.expect("reads");
        assert_eq!(mail(&company, cloud).await, "late@example.org");
        assert!(company.login(cloud).await.is_ok());
    }
    give_mail(&company, &slow, 200, "later@example.org").await;
    here.room.refresh().await.expect("reads");
    assert_eq!(mail(&company, here).await, "later@example.org");
}

#[tokio::test]
async fn a_move_to_a_database_that_does_not_answer_can_be_called_back() {
    let company = Company::with(None, None).await;
    let nowhere = BTreeMap::from([("one".to_owned(), url(Path::new("/nowhere"), "one"))]);
    let cut_off = company.again_with(&nowhere).await;
    assert!(go(&cut_off, "one").await.is_err());
    give_mail(&company, &cut_off, 200, "a@example.org").await;
    // Set off, and then gone.
    company.cloud.room.refresh().await.expect("reads");
    assert!(!cut(&company, &company.cloud, "one", 1).await);
    cut_off.room.refresh().await.expect("reads");
    give_mail(&company, &cut_off, 503, "b@example.org").await;
    assert!(go(&cut_off, "one").await.is_err());
    assert_eq!(go(&cut_off, "main").await.expect("called back"), None);
    give_mail(&company, &cut_off, 200, "c@example.org").await;
    // What was copied is still there, and nobody is made of it.
    company.cloud.room.refresh().await.expect("reads");
    assert!(go(&company.cloud, "one").await.is_err(), "over nobody");
    let one = company.database("one").await;
    for kind in [Kind::User, Kind::Group] {
        for id in ids(&one, kind).await {
            one.delete(kind, &id, Expect::Anything).await.expect("deleted");
        }
    }
    assert_eq!(go(&company.cloud, "one").await.expect("moves"), Some(2));
    assert_eq!(mail(&company, &company.cloud).await, "c@example.org");
}
