// Asking the server. Whole numbers that JavaScript would round stay the digits they came as.

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let loggedOut = () => {};
/** What to do when the session is over. */
export const whenLoggedOut = (act) => { loggedOut = act; };

function exact(_key, value, context) {
  if (typeof value !== "number" || !Number.isInteger(value) || Number.isSafeInteger(value)) return value;
  return context?.source && /^-?\d+$/.test(context.source) ? context.source : value;
}

async function post(path, body) {
  let reply;
  try {
    reply = await fetch(`/webui/api/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Redkite-Page": "1", "Accept-Type-Allow-Int64": "false" },
      body: JSON.stringify(body),
      credentials: "same-origin",
    });
  } catch {
    throw new ApiError(0, 0, "The server does not answer.");
  }
  const text = await reply.text();
  let told;
  try {
    told = JSON.parse(text, exact);
  } catch {
    throw new ApiError(reply.status, reply.status, text || `HTTP ${reply.status}`);
  }
  if (!reply.ok || (told.code !== 0 && told.code !== 200)) {
    if (reply.status === 401 && path !== "login") loggedOut();
    throw new ApiError(reply.status, told.code, told.message ?? `HTTP ${reply.status}`);
  }
  return told;
}

/** The data of one of the page's own questions. */
export const ask = async (name, body = {}) => (await post(name, body)).data;
/** The whole answer of an endpoint of REST. */
export const rest = (path, body = {}) => post(`rest/${path}`, body);
/** JSON text as values, or the text itself where it is none. */
export function parsed(text) {
  try {
    return JSON.parse(text, exact);
  } catch {
    return text;
  }
}
