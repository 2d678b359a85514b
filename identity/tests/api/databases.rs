//! Users and groups of a domain in a database of its own, next to domains whose users are with everything else.

use std::collections::BTreeMap;
use std::path::Path;

use anello_identity::IdentityConfig;
use anello_identity::records::{Expect, Kind, Records, SqlRecords};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cloud::{Cloud, open_with};
use crate::servers::{Server, mariadb, postgres};

pub(crate) fn url(dir: &Path, name: &str) -> String {
    format!("sqlite://{}?mode=rwc", dir.join(name).display())
}

fn config(databases: &BTreeMap<String, String>) -> IdentityConfig {
    IdentityConfig { databases: databases.clone(), ..IdentityConfig::default() }
}

pub(crate) fn driver(database: &str) -> Option<Value> {
    Some(json!({"config": {"identity": {"driver": "sql", "database": database}}}))
}

/// A cloud with a domain of the name `company`, in which a user has a role on a project through a group.
pub(crate) struct Company {
    pub(crate) cloud: Cloud,
    /// The databases `one` and `two`.
    pub(crate) databases: BTreeMap<String, String>,
    pub(crate) domain: String,
    pub(crate) user: String,
    project: String,
    _dir: TempDir,
    _server: Option<Server>,
}

impl Company {
    /// Its users are in the database `one`, a file.
    async fn new() -> Self {
        Self::with(None, Some("one")).await
    }

    /// One for each kind of database that is here, which is `one`; its users are there, or with everything else.
    pub(crate) async fn of_each(database: Option<&str>) -> Vec<Self> {
        let mut all = vec![Self::with(None, database).await];
        for server in [postgres(), mariadb()].into_iter().flatten() {
            all.push(Self::with(Some(server), database).await);
        }
        all
    }

    pub(crate) async fn with(server: Option<Server>, database: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let one = server.as_ref().map_or_else(|| url(dir.path(), "one"), |server| server.url.clone());
        let two = url(dir.path(), "two");
        let databases = BTreeMap::from([("one".to_owned(), one), ("two".to_owned(), two)]);
        let cloud = Cloud::with(config(&databases)).await;
        let admin = cloud.admin_token().await;
        let id = |made: &Value, kind: &str| made[kind]["id"].as_str().expect("an id").to_owned();
        let made = cloud.want(201, &admin, "POST", "/v3/domains", Some(json!({"domain": {"name": "company"}}))).await;
        let domain = id(&made, "domain");
        if let Some(database) = database {
            cloud.want(201, &admin, "PUT", &format!("/v3/domains/{domain}/config"), driver(database)).await;
        }
        let body = json!({"user": {"name": "ann", "domain_id": domain, "password": "ann's own"}});
        let user = id(&cloud.want(201, &admin, "POST", "/v3/users", Some(body)).await, "user");
        let body = json!({"group": {"name": "staff", "domain_id": domain}});
        let group = id(&cloud.want(201, &admin, "POST", "/v3/groups", Some(body)).await, "group");
        cloud.want(204, &admin, "PUT", &format!("/v3/groups/{group}/users/{user}"), None).await;
        let body = json!({"project": {"name": "work", "domain_id": domain}});
        let project = id(&cloud.want(201, &admin, "POST", "/v3/projects", Some(body)).await, "project");
        let role = cloud.role_id(&admin, "member").await;
        cloud.want(204, &admin, "PUT", &format!("/v3/projects/{project}/groups/{group}/roles/{role}"), None).await;
        Self { cloud, databases, domain, user, project, _dir: dir, _server: server }
    }

    pub(crate) async fn database(&self, name: &str) -> SqlRecords {
        let database = SqlRecords::connect(&self.databases[name]).await.expect("connects");
        database.prepare().await.expect("has its table");
        database
    }

    pub(crate) async fn login(&self, cloud: &Cloud) -> Result<String, u16> {
        let user = json!({"name": "ann", "domain": {"id": self.domain}, "password": "ann's own"});
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        let scope = json!({"project": {"id": self.project}});
        let token = cloud.authenticate(identity, Some(scope)).await;
        token.map(|(token, _)| token).map_err(|answer| answer.status.as_u16())
    }

    /// The cloud after a restart.
    pub(crate) async fn again(&self) -> Cloud {
        self.again_with(&self.databases).await
    }

    pub(crate) async fn again_with(&self, databases: &BTreeMap<String, String>) -> Cloud {
        let (room, made) = open_with(&self.cloud.records, config(databases)).await;
        Cloud { records: self.cloud.records.clone(), room, made }
    }
}

pub(crate) async fn ids(records: &dyn Records, kind: Kind) -> Vec<String> {
    records.versions(kind).await.expect("listed").into_iter().map(|(id, _)| id).collect()
}

#[tokio::test]
async fn a_domains_users_are_in_its_database_and_log_in_after_a_restart() {
    for company in Company::of_each(Some("one")).await {
        check_kept(&company).await;
    }
}

async fn check_kept(company: &Company) {
    let cloud = &company.cloud;
    let database = company.database("one").await;
    assert_eq!(ids(&database, Kind::User).await, [&*company.user]);
    assert_eq!(ids(&database, Kind::Group).await.len(), 1);
    assert_eq!(ids(&cloud.records, Kind::User).await, [&*cloud.made.user_id], "the admin alone");
    assert!(company.login(cloud).await.is_ok());
    let admin = cloud.admin_token().await;
    let twice = json!({"user": {"name": "ann", "domain_id": company.domain}});
    cloud.want(409, &admin, "POST", "/v3/users", Some(twice)).await;
    let path = format!("/v3/users/{}", company.user);
    cloud.want(200, &admin, "PATCH", &path, Some(json!({"user": {"email": "ann@example.org"}}))).await;
    let again = company.again().await;
    assert!(company.login(&again).await.is_ok());
    let shown = again.want(200, &admin, "GET", &path, None).await;
    assert_eq!(shown["user"]["email"], "ann@example.org");
    again.want(204, &admin, "DELETE", &path, None).await;
    assert!(ids(&database, Kind::User).await.is_empty());
    cloud.room.refresh().await.expect("reads");
    cloud.want(404, &admin, "GET", &path, None).await;
}

#[tokio::test]
async fn users_go_and_come_with_the_configuration_and_none_is_left_behind() {
    let company = Company::new().await;
    let (cloud, path) = (&company.cloud, format!("/v3/domains/{}/config", company.domain));
    let admin = cloud.admin_token().await;
    cloud.want(409, &admin, "PUT", "/v3/domains/default/config", driver("one")).await;
    cloud.want(400, &admin, "PUT", &path, driver("unheard-of")).await;
    cloud.want(204, &admin, "DELETE", &path, None).await;
    assert_eq!(company.login(cloud).await, Err(401));
    cloud.want(201, &admin, "PUT", &path, driver("one")).await;
    assert!(company.login(cloud).await.is_ok());
    let domain = format!("/v3/domains/{}", company.domain);
    cloud.want(200, &admin, "PATCH", &domain, Some(json!({"domain": {"enabled": false}}))).await;
    cloud.want(204, &admin, "DELETE", &domain, None).await;
    assert!(ids(&company.database("one").await, Kind::User).await.is_empty(), "deleted with the domain");
}

#[tokio::test]
async fn a_database_that_is_gone_stops_its_own_users_only() {
    let company = Company::new().await;
    let cloud = &company.cloud;
    let admin = cloud.admin_token().await;
    let nowhere = BTreeMap::from([("one".to_owned(), url(Path::new("/nowhere"), "one"))]);
    let again = company.again_with(&nowhere).await;
    assert!(again.login(&again.admin()).await.is_ok());
    assert_eq!(company.login(&again).await, Err(401), "nobody knows her now");
    let body = json!({"user": {"name": "bob", "domain_id": company.domain}});
    again.want(503, &admin, "POST", "/v3/users", Some(body)).await;
    let person = again.person(&admin, "someone", "member").await;
    assert!(again.login(&person).await.is_ok());
    again.room.refresh().await.expect("goes on");
    assert!(company.login(&company.again().await).await.is_ok(), "and it is there again");
}

/// A refresh comes every few seconds, and a domain may have many users.
#[tokio::test]
async fn users_are_listed_again_only_where_one_of_their_places_was_written() {
    for company in Company::of_each(Some("one")).await {
        let (here, there) = (&company.cloud, company.again().await);
        let lists = async |cloud: &Cloud| {
            cloud.room.refresh().await.expect("reads");
            let before = company.cloud.records.lists();
            cloud.room.refresh().await.expect("reads");
            company.cloud.records.lists() - before
        };
        assert_eq!((lists(here).await, lists(&there).await), (0, 0));
        let admin = here.admin_token().await;
        let path = format!("/v3/users/{}", company.user);
        here.want(200, &admin, "PATCH", &path, Some(json!({"user": {"email": "new@example.org"}}))).await;
        there.room.refresh().await.expect("reads");
        assert_eq!(there.want(200, &admin, "GET", &path, None).await["user"]["email"], "new@example.org");
        assert_eq!(lists(&there).await, 0);
    }
}

#[tokio::test]
async fn a_database_speaks_for_its_own_domain_only() {
    let company = Company::new().await;
    let cloud = &company.cloud;
    let database = company.database("one").await;
    let (_, ann) = database.get(Kind::User, &company.user).await.expect("readable").expect("there");
    let forged = |id: &str, domain: &str, name: &str| {
        let mut record: Value = serde_json::from_slice(&ann).expect("JSON");
        let fields = [("id", id), ("domain_id", domain), ("name", name)];
        fields.into_iter().for_each(|(field, value)| record["record"][field] = value.into());
        record.to_string().into()
    };
    let (admin, other) = (cloud.made.user_id.clone(), "0123456789abcdef0123456789abcdef");
    for (id, domain, name) in
        [(admin.as_str(), "default", "admin"), (admin.as_str(), &company.domain, "eve"), (other, "default", "eve")]
    {
        database.put(Kind::User, id, forged(id, domain, name), Expect::Anything).await.expect("written");
        for cloud in [cloud, &company.again().await] {
            cloud.room.refresh().await.expect("reads");
            let token = cloud.login(&cloud.admin()).await.expect("with his own password");
            let path = "/v3/users?name=eve";
            assert_eq!(cloud.want(200, &token, "GET", path, None).await["users"], json!([]), "{id} {domain}");
        }
    }
    // Another domain's database claims Ann.
    let token = cloud.admin_token().await;
    let made = cloud.want(201, &token, "POST", "/v3/domains", Some(json!({"domain": {"name": "rival"}}))).await;
    let rival = made["domain"]["id"].as_str().expect("an id");
    cloud.want(201, &token, "PUT", &format!("/v3/domains/{rival}/config"), driver("two")).await;
    let two = company.database("two").await;
    two.put(Kind::User, &company.user, forged(&company.user, rival, "ann"), Expect::Absent).await.expect("written");
    let again = company.again().await;
    again.want(404, &token, "GET", &format!("/v3/users/{}", company.user), None).await;
}
