/** Keep the end in view for a reader who is there, and leave one who reads further up alone. */

const NEAR = 8; // Pixels: a fraction is lost to zoom, and no finger stops exactly at the end.

let following = true;
let height = 0; // How far down the window was when it scrolled last.
let log = null;
let latest = null;

/** Follow the growth of `element` from now on. */
export function follow(element) {
  log = element;
  latest = document.getElementById("latest");
  latest.addEventListener("click", toTheEnd);
  history.scrollRestoration = "manual"; // The page is empty when the browser would restore it.
  addEventListener("scroll", scrolled, { passive: true });
  addEventListener("resize", keep);
  new ResizeObserver(keep).observe(element);
  toTheEnd();
}

export function toTheEnd() {
  following = true;
  keep();
}

/** Only going up leaves the end: the text may have grown since we went down to it. */
function scrolled() {
  if (distance() <= NEAR) following = true;
  else if (scrollY < height) following = false;
  height = scrollY;
  latest.hidden = following;
}

function keep() {
  // Before the first question the page begins at its top.
  const end = document.documentElement.scrollHeight;
  if (following && log?.childElementCount) scrollTo({ top: end, behavior: "instant" });
  if (latest) latest.hidden = following || distance() <= NEAR;
}

function distance() {
  return document.documentElement.scrollHeight - innerHeight - scrollY;
}
