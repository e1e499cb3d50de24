//! Preformatted text of HTML as a block of code, whether or not the page says `<code>`: its spaces and lines stay, and
//! nothing in it is markup of Markdown.

use super::html::SKIPPED;
use htmd::Element;
use htmd::element_handler::{HandlerResult, Handlers};
use markup5ever_rcdom::{Node, NodeData};
use std::rc::Rc;

/// The handler of `<pre>`.
pub fn code(_: &dyn Handlers, element: Element) -> Option<HandlerResult> {
    let (mut text, mut language) = (String::new(), None);
    gather(element.node, &mut text, &mut language);
    let text = text.trim_matches('\n');
    if text.trim().is_empty() {
        return Some("\n\n".into());
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let language = language.unwrap_or_default();
    Some(format!("\n\n{fence}{language}\n{text}\n{fence}\n\n").into())
}

/// Adds the text of a node as it stands, and finds the first language that a class names.
fn gather(node: &Rc<Node>, text: &mut String, language: &mut Option<String>) {
    match &node.data {
        NodeData::Text { contents } => text.push_str(&contents.borrow()),
        NodeData::Element { name, attrs, .. } => {
            let name = &*name.local;
            if SKIPPED.contains(&name) {
                return;
            }
            if name == "br" {
                text.push('\n');
            }
            let attrs = attrs.borrow();
            let class = attrs.iter().find(|a| &*a.name.local == "class");
            let named = class.and_then(|class| {
                let mut names = class.value.split_whitespace();
                names.find_map(|name| name.strip_prefix("language-"))
            });
            let named = named.map(|name| name.replace('`', ""));
            *language = language.take().or(named);
        }
        _ => {}
    }
    for child in node.children.borrow().iter() {
        gather(child, text, language);
    }
}

#[cfg(test)]
mod tests {
    use crate::reading::{Format, parts, read};

    fn text(html: &str) -> String {
        let read = read(Format::Html, None, html.as_bytes()).unwrap();
        read.text.trim().to_owned()
    }

    #[test]
    fn preformatted_text_is_code_with_and_without_its_element() {
        let lines = "# no heading\n  a_b *c*\n\n\\d";
        let fenced = format!("```\n{lines}\n```");
        for html in [
            format!("<pre>{lines}</pre>"),
            format!("<pre>\n{lines}\n</pre>"),
            format!("<pre><code>{lines}\n</code></pre>"),
            "<pre><span># no heading\n</span>  <b>a_b</b> *c*<br><br>\\d</pre>".to_owned(),
            "<pre><code># no heading</code>\n<code>  a_b *c*</code>\n\n\\d</pre>".to_owned(),
        ] {
            assert_eq!(text(&html), fenced, "{html}");
        }
        assert_eq!(
            text("<p>Before</p><pre class='x language-sh'>ls\n</pre><p>After"),
            "Before\n\n```sh\nls\n```\n\nAfter"
        );
        assert_eq!(text("a<pre> \n </pre>b"), "a\n\nb");
        // What looks like a heading within is none.
        let page = "<h1>One</h1><p>x</p><pre># Two\ny</pre>";
        assert_eq!(parts(&text(page)).len(), 1);
    }

    #[test]
    fn a_fence_is_longer_than_the_marks_within() {
        let html = "<pre>```\n# a_b\n```\n\\_ c</pre><p>snake_case * \\</p>";
        assert_eq!(
            text(html),
            "````\n```\n# a_b\n```\n\\_ c\n````\n\nsnake_case * \\"
        );
    }

    #[test]
    fn code_in_a_list_stays_in_its_item() {
        let found = text("<ul><li>Run<pre>make\n  all</pre></li><li>Wait</li></ul>");
        assert!(found.contains("  ```\n"), "{found}");
        assert!(
            found.contains("make\n") && found.contains("  all"),
            "{found}"
        );
    }
}
