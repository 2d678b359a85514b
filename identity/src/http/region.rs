//! Regions of the catalog. Whoever makes one may choose its id.

use anello_api::rest::{Fault, Fields, Target};
use http::Method;
use serde_json::{Value, json};

use super::{Answer, Call, Route, extra, list, with_extra};
use crate::limits::{DESCRIPTION_CHARS_MAX, ID_CHARS_MAX};
use crate::model::Region;

pub(super) fn routes() -> Vec<Route> {
    const ALL: &str = "/v3/regions";
    const ONE: &str = "/v3/regions/{region_id}";
    vec![
        Route::new(Method::GET, ALL, "identity:list_regions", index),
        Route::new(Method::POST, ALL, "identity:create_region", create),
        Route::new(Method::PUT, ONE, "identity:create_region", create),
        Route::new(Method::GET, ONE, "identity:get_region", show),
        Route::new(Method::PATCH, ONE, "identity:update_region", update),
        Route::new(Method::DELETE, ONE, "identity:delete_region", delete),
    ]
}

fn view(call: &Call, region: &Region) -> Value {
    let view = json!({
        "id": region.id,
        "description": region.description,
        "parent_region_id": region.parent_region_id,
        "links": {"self": call.links.to(&format!("/v3/regions/{}", region.id))},
    });
    with_extra(view, &region.extra)
}

async fn index(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let directory = call.service.directory.view();
    let wanted = |it: &Region| call.query.admits_option("parent_region_id", it.parent_region_id.as_deref());
    let rows = directory.regions.rows().filter(|(_, it)| wanted(it));
    Ok(granted.ok(list(&call, "regions", "/v3/regions", rows, |it| view(&call, it))?))
}

async fn show(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let id = call.param("region_id");
    let region = call.service.directory.get::<Region>(id).ok_or_else(|| Fault::missing("region", id))?;
    Ok(granted.ok(json!({"region": view(&call, &region)})))
}

fn check_parent(call: &Call, id: &str, parent: Option<&str>) -> Result<(), Fault> {
    let directory = call.service.directory.view();
    if let Some(parent) = parent {
        directory.regions.get(parent).ok_or_else(|| Fault::missing("region", parent))?;
        let above = |id: &String| directory.regions.get(id).and_then(|it| it.parent_region_id.clone());
        if std::iter::successors(Some(parent.to_owned()), above).take(directory.regions.len() + 1).any(|it| it == id) {
            return Err(Fault::invalid("A region can't lie in itself."));
        }
    }
    Ok(())
}

/// POST with an id in the body or none, PUT with the id in the path. The body of a PUT must not name another one.
async fn create(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let mut fields = Fields::of(call.json()?, "region")?;
    let stated = fields.text("id", ID_CHARS_MAX)?.filter(|id| !id.is_empty());
    let id = match (call.param("region_id"), stated) {
        ("", stated) => stated.unwrap_or_else(anello_base::id::hex_id),
        (path, Some(stated)) if stated != path => return Err(fields.wrong("id", "is not the one of the path")),
        (path, _) => path.to_owned(),
    };
    let parent_region_id = fields.text("parent_region_id", ID_CHARS_MAX)?;
    check_parent(&call, &id, parent_region_id.as_deref())?;
    let region = Region {
        id,
        description: fields.text("description", DESCRIPTION_CHARS_MAX)?.unwrap_or_default(),
        parent_region_id,
        extra: extra(fields),
    };
    let region = call.service.directory.create(region).await?;
    Ok(granted.created(json!({"region": view(&call, &region)})))
}

async fn update(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let id = call.param("region_id");
    let mut fields = Fields::of(call.json()?, "region")?;
    let description = fields.text("description", DESCRIPTION_CHARS_MAX)?;
    let sets_parent = fields.has("parent_region_id");
    let parent = fields.text("parent_region_id", ID_CHARS_MAX)?;
    check_parent(&call, id, parent.as_deref())?;
    let extra = extra(fields);
    let change = |it: &mut Region| {
        it.description = description.clone().unwrap_or_else(|| it.description.clone());
        if sets_parent {
            it.parent_region_id.clone_from(&parent);
        }
        it.extra.extend(extra.clone());
        Ok(())
    };
    let region = call.service.directory.update(id, change).await?;
    Ok(granted.ok(json!({"region": view(&call, &region)})))
}

async fn delete(call: Call) -> Answer {
    let granted = call.authorize(&Target::none())?;
    let id = call.param("region_id");
    let is_used = {
        let view = call.service.directory.view();
        view.regions.iter().any(|it| it.parent_region_id.as_deref() == Some(id))
            || view.endpoints.iter().any(|it| it.region_id.as_deref() == Some(id))
    };
    if is_used {
        return Err(Fault::forbidden(format!("Unable to delete region {id}: regions or endpoints are in it.")));
    }
    call.service.directory.delete::<Region>(id).await?;
    Ok(granted.no_content())
}
