// Questions to the server. The token comes from the address or a form, stays in this tab, and goes with each question in a header.

const KEY = "archiver-token";
const given = new URLSearchParams(location.hash.slice(1));

if (given.get("token")) {
  sessionStorage.setItem(KEY, given.get("token"));
  given.delete("token");
  history.replaceState(null, "", given.size ? `#${given}` : location.pathname);
}

export const enter = (token) => sessionStorage.setItem(KEY, token);

export class Failed extends Error {
  // `asks`: a token that the cluster knows would help.
  constructor(message, hint, asks = false) {
    super(hint ? `${message}. ${hint[0].toUpperCase()}${hint.slice(1)}.` : message);
    this.asks = asks;
  }
}

export async function ask(what, query, signal) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== "" && value !== undefined) words.set(name, value);
  const token = sessionStorage.getItem(KEY);
  let answer;
  try {
    answer = await fetch(`api/${what}?${words}`, {
      signal, headers: token ? { Authorization: `Bearer ${token}` } : {}, credentials: "omit", redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failed("The server does not answer", "look whether `archiver web` still runs");
  }
  const body = answer.headers.get("Content-Type")?.startsWith("application/json") ? await answer.json() : { error: await answer.text() };
  if (answer.status === 401 && !body.enter) throw new Failed("This page needs the address that `archiver web` printed, with its token");
  if (answer.status === 401) throw new Failed(token ? body.error : "This page needs a token that the cluster knows", body.hint, true);
  if (!answer.ok) throw new Failed(body.error, body.hint);
  return body;
}
