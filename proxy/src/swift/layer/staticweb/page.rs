//! The pages that are made for a site. Their ids and classes are Swift's: sites have style sheets for them.

use quick_xml::escape::escape;
use serde_json::Value;

use crate::swift::reply;

const PLAIN_STYLE: &str =
    "<style>h1{font-size:1em}th{text-align:left}th,td{padding:0 1em}a{text-decoration:none}</style>";

/// What a page begins with; `css` is empty where the site has no style sheet.
fn head(title: &str, css: &str) -> String {
    let style = match css {
        "" => PLAIN_STYLE.to_owned(),
        css => format!("<link rel=\"stylesheet\" type=\"text/css\" href=\"{}\" />", escape(css)),
    };
    let title = escape(title);
    format!("<!DOCTYPE html>\n<html>\n<head>\n<title>Listing of {title}</title>\n{style}\n</head>\n<body>\n")
}

/// A directory. `query` goes behind every link.
pub(super) fn listing(
    label: &str,
    css: &str,
    prefix: &str,
    has_parent: bool,
    query: Option<&str>,
    rows: &[Value],
) -> String {
    let query = query.map(|query| format!("?{}", query.replace('&', "&amp;"))).unwrap_or_default();
    let mut page = head(label, css);
    page.push_str(&format!("<h1 id=\"title\">Listing of {}</h1>\n<table id=\"listing\">\n", escape(label)));
    page.push_str(
        "<tr id=\"heading\"><th class=\"colname\">Name</th><th class=\"colsize\">Size</th>\
         <th class=\"coldate\">Date</th></tr>\n",
    );
    if has_parent {
        let link = format!("<a href=\"../{query}\">../</a>");
        page.push_str(&row(" id=\"parent\"", "item", &link, "&nbsp;", "&nbsp;"));
    }
    let below = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
    let link = |name: &str| format!("<a href=\"./{}{query}\">{}</a>", quoted(name), escape(name));
    for name in rows.iter().filter_map(|row| row["subdir"].as_str()) {
        page.push_str(&row("", "item subdir", &link(&below(name)), "&nbsp;", "&nbsp;"));
    }
    for entry in rows {
        let Some(name) = entry["name"].as_str() else { continue };
        let media_type = entry["content_type"].as_str().unwrap_or("").to_lowercase();
        let kinds: String = media_type.split('/').map(|part| format!(" type-{}", escape(part))).collect();
        let date = entry["last_modified"].as_str().unwrap_or("").split('.').next().unwrap_or("").replace('T', " ");
        let size = size(entry["bytes"].as_u64().unwrap_or(0));
        page.push_str(&row("", &format!("item{kinds}"), &link(&below(name)), &size, &escape(&date)));
    }
    page.push_str("</table>\n</body>\n</html>\n");
    page
}

fn row(id: &str, class: &str, name: &str, size: &str, date: &str) -> String {
    format!(
        "<tr{id} class=\"{class}\"><td class=\"colname\">{name}</td><td class=\"colsize\">{size}</td>\
         <td class=\"coldate\">{date}</td></tr>\n"
    )
}

/// A directory that is not listed and has no index.
pub(super) fn disabled(label: &str, index: &str, css: &str) -> String {
    let mut page = head(label, css);
    page.push_str(
        "<h1>Web Listing Disabled</h1>\n<p>This site does not list its files. Its owner can change that with \
         X-Container-Meta-Web-Listings.</p>\n",
    );
    if !index.is_empty() {
        page.push_str(&format!("<p>There is no index file ({}) here.</p>\n", escape(index)));
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// A name in a link. A dot is encoded too: `./..` would lead out of the directory.
fn quoted(name: &str) -> String {
    reply::quoted(name).replace('.', "%2E")
}

/// A size for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut unit = 0;
    let mut rest = bytes as f64;
    while rest.round() >= 1024.0 && unit + 1 < UNITS.len() {
        rest /= 1024.0;
        unit += 1;
    }
    format!("{}{}", rest.round(), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_can_neither_break_out_of_a_page_nor_out_of_a_directory() {
        let rows = [
            json!({"subdir": "d/<b>\"/"}),
            json!({"name": "d/..", "bytes": 1536, "content_type": "text/\"><script>", "last_modified": "2026-01-02T03:04:05.678"}),
        ];
        let page = listing("<i>", "", "d/", true, Some("a=1&b"), &rows);
        assert!(!page.contains("<script>") && !page.contains("<b>") && !page.contains("<i>"), "{page}");
        for part in
            ["href=\"./%2E%2E?a=1&amp;b\"", "href=\"./%3Cb%3E%22/?a", ">2Ki<", "2026-01-02 03:04:05", "href=\"../?a"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
