"use strict";

// The reader's language: that of the address, of the study's --language, or of the browser.
{
  const page = document.getElementById("page");
  const others = new Map([...document.querySelectorAll("template[data-language]")]
    .map((template) => [template.dataset.language, template]));
  const wished = [new URLSearchParams(location.search).get("language")];
  if (!("fixed" in page.dataset)) wished.push(...navigator.languages.map((tag) => tag.split("-")[0]));
  const known = [document.documentElement.lang, ...others.keys()];
  const chosen = wished.find((code) => known.includes(code));
  if (others.has(chosen)) {
    const { content, dataset } = others.get(chosen);
    page.replaceChildren(content);
    document.title = dataset.title;
    document.documentElement.lang = chosen;
  }
  for (const link of page.querySelectorAll("a.language")) link.hidden = false;
}
