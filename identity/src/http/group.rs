//! Groups and who is in them.

use std::sync::Arc;

use anello_api::rest::{Fault, Fields, Granted};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, authorize_list, domain_for_new, extra, in_domain, list, user, with_extra};
use crate::limits::{DESCRIPTION_CHARS_MAX, ID_CHARS_MAX, NAME_CHARS_MAX};
use crate::model::{Domain, Group, Kept, Membership, User};

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/groups";
    const ONE: &str = "/v3/groups/{group_id}";
    const MEMBER: &str = "/v3/groups/{group_id}/users/{user_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_groups", index),
        Route::new(Method::POST, ALL, "identity:create_group", create),
        Route::new(Method::GET, ONE, "identity:get_group", show),
        Route::new(Method::PATCH, ONE, "identity:update_group", update),
        Route::new(Method::DELETE, ONE, "identity:delete_group", delete),
        Route::new(Method::GET, "/v3/groups/{group_id}/users", "identity:list_users_in_group", list_users),
        Route::new(Method::PUT, MEMBER, "identity:add_user_to_group", add_user),
        Route::new(Method::GET, MEMBER, "identity:check_user_in_group", check_user),
        Route::new(Method::DELETE, MEMBER, "identity:remove_user_from_group", remove_user),
    ]
}

pub(super) fn view(call: &Call, group: &Group) -> Value {
    let view = json!({
        "id": group.id,
        "name": group.name,
        "domain_id": group.domain_id,
        "description": group.description,
        "links": {"self": call.links.to(&format!("/v3/groups/{}", group.id))},
    });
    with_extra(view, &group.extra)
}

fn authorized(call: &Call) -> Result<(Granted, Arc<Group>), Fault> {
    let id = call.param("group_id");
    let group = call.service.directory.get::<Group>(id);
    let granted = call.authorize(&in_domain(group.as_ref().map(|it| it.domain_id.as_str())))?;
    Ok((granted, group.ok_or_else(|| Fault::missing("group", id))?))
}

async fn index(call: Call) -> Answer {
    let (granted, own) = authorize_list(&call)?;
    let query = &call.query;
    let wanted = |it: &Group| {
        own.as_ref().is_none_or(|own| *own == it.domain_id)
            && query.admits("name", &it.name)
            && query.admits("domain_id", &it.domain_id)
    };
    let directory = call.service.directory.view();
    let rows = super::in_domains::<Group>(&call, &directory).filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "groups", "/v3/groups", rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let (granted, group) = authorized(&call)?;
    Ok(granted.ok(json!({"group": view(&call, &group)})))
}

async fn create(call: Call) -> Answer {
    let mut fields = Fields::of(call.json()?, "group")?;
    let domain_id = domain_for_new(&call, &mut fields)?;
    let granted = call.authorize(&in_domain(Some(&domain_id)))?;
    call.service.directory.get::<Domain>(&domain_id).ok_or_else(|| Fault::missing("domain", &domain_id))?;
    call.service.check_writable(&domain_id)?;
    let group = Group {
        id: anello_base::id::hex_id(),
        name: fields.required("name", NAME_CHARS_MAX)?,
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?.unwrap_or_default(),
        extra: extra(fields),
        domain_id,
    };
    let group = call.service.directory.create(group).await?;
    Ok(granted.created(json!({"group": view(&call, &group)})))
}

async fn update(call: Call) -> Answer {
    let (granted, group) = authorized(&call)?;
    let mut fields = Fields::of(call.json()?, "group")?;
    if fields.text("domain_id", ID_CHARS_MAX)?.is_some_and(|id| id != group.domain_id) {
        return Err(Fault::forbidden("The domain_id of a group can't be changed."));
    }
    let name = fields.replaced("name", NAME_CHARS_MAX)?;
    let description = fields.text("description", DESCRIPTION_CHARS_MAX)?;
    let extra = extra(fields);
    let change = |it: &mut Group| {
        it.name = name.clone().unwrap_or_else(|| it.name.clone());
        it.description = description.clone().unwrap_or_else(|| it.description.clone());
        it.extra.extend(extra.clone());
        Ok(())
    };
    let group = call.service.directory.update(&group.id, change).await?;
    Ok(granted.ok(json!({"group": view(&call, &group)})))
}

async fn delete(call: Call) -> Answer {
    let (granted, group) = authorized(&call)?;
    call.service.check_writable(&group.domain_id)?;
    call.service.forget::<Group>(&group.id).await?;
    Ok(granted.no_content())
}

async fn list_users(call: Call) -> Answer {
    let (granted, group) = authorized(&call)?;
    let directory = call.service.directory.view();
    let members = directory.memberships.iter().filter(|it| it.group_id == group.id);
    let users = members.filter_map(|it| directory.users.get(&it.user_id));
    let rows = users.filter(|it| call.query.admits("name", &it.name)).map(|it| (it.id.as_str(), it));
    let path = format!("/v3/groups/{}/users", group.id);
    Ok(granted.ok(list(&call, "users", &path, rows, |it| user::view(&call, it))?))
}

/// The membership that the path names, once both ends are there and the policy agrees.
fn membership(call: &Call) -> Result<(Granted, Membership), Fault> {
    let (user_id, group_id) = (call.param("user_id"), call.param("group_id"));
    let directory = &call.service.directory;
    let (user, group) = (directory.get::<User>(user_id), directory.get::<Group>(group_id));
    let mut target = in_domain(group.as_ref().map(|it| it.domain_id.as_str()));
    if let Some(user) = &user {
        target = target.with("actor_domain_id", user.domain_id.clone());
    }
    let granted = call.authorize(&target)?;
    group.ok_or_else(|| Fault::missing("group", group_id))?;
    user.ok_or_else(|| Fault::missing("user", user_id))?;
    Ok((granted, Membership { user_id: user_id.to_owned(), group_id: group_id.to_owned() }))
}

/// A group of a directory has the members that it has there.
fn check_writable(call: &Call, membership: &Membership) -> Result<(), Fault> {
    let group = call.service.directory.get::<Group>(&membership.group_id);
    group.map_or(Ok(()), |group| Ok(call.service.check_writable(&group.domain_id)?))
}

fn not_a_member(membership: &Membership) -> Fault {
    Fault::missing("user in group", &format!("{} in {}", membership.user_id, membership.group_id))
}

async fn add_user(call: Call) -> Answer {
    let (granted, membership) = membership(&call)?;
    check_writable(&call, &membership)?;
    call.service.directory.put(membership).await?;
    Ok(granted.no_content())
}

async fn check_user(call: Call) -> Answer {
    let (granted, membership) = membership(&call)?;
    let found = call.service.directory.get::<Membership>(&membership.id());
    found.ok_or_else(|| not_a_member(&membership))?;
    Ok(granted.no_content())
}

async fn remove_user(call: Call) -> Answer {
    let (granted, membership) = membership(&call)?;
    check_writable(&call, &membership)?;
    let found = call.service.directory.get::<Membership>(&membership.id());
    found.ok_or_else(|| not_a_member(&membership))?;
    call.service.directory.delete::<Membership>(&membership.id()).await?;
    Ok(granted.no_content())
}
