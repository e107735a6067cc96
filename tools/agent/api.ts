import { textIn } from '../node/reader.js'
import { type HttpMethod, IsomorphicFetchHttpLibrary, type KubeConfig, RequestContext } from './libraries.js'

/** The kinds of patches that the agent sends. */
export type PatchKind = 'application/merge-patch+json' | 'application/strategic-merge-patch+json'

/** Something that the API server did not do. */
export class ApiRefusal extends Error {
  readonly statusCode: number

  constructor(statusCode: number, message: string) {
    super(message)
    this.statusCode = statusCode
  }
}

/**
 * Single requests, by what the official client has for that below its classes of the API: those would take 30 MB, and
 * copy every node with all its images.
 */
export class Api {
  readonly config: KubeConfig
  readonly #http = new IsomorphicFetchHttpLibrary()

  constructor(config: KubeConfig) {
    this.config = config
  }

  async get(path: string, query: Readonly<Record<string, string | undefined>>): Promise<unknown> {
    const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))
    return await this.#request('GET', `${path}?${new URLSearchParams(given as [string, string][])}`)
  }

  async post(path: string, body: object): Promise<void> {
    await this.#request('POST', path, 'application/json', body)
  }

  async patch(path: string, kind: PatchKind, body: object): Promise<void> {
    await this.#request('PATCH', path, kind, body)
  }

  /** @throws ApiRefusal, or what says why there is no answer */
  async #request(method: string, path: string, type?: string, body?: object): Promise<unknown> {
    const server = this.config.getCurrentCluster()?.server ?? ''
    const context = new RequestContext(server + path, method as HttpMethod)
    context.setHeaderParam('Accept', 'application/json')
    if (type !== undefined) context.setHeaderParam('Content-Type', type)
    if (body !== undefined) context.setBody(JSON.stringify(body))
    context.setSignal(AbortSignal.timeout(patience))
    await this.config.applySecurityAuthentication(context)
    const { httpStatusCode, body: answer } = await this.#http.send(context).toPromise()
    const text = await answer.text()
    if (httpStatusCode < 400) return JSON.parse(text)
    throw new ApiRefusal(httpStatusCode, `HTTP ${httpStatusCode}: ${messageIn(text)}`)
  }
}

// --- internal

/** Milliseconds that a request may take. */
const patience = 30_000

/** What a Status says, or the start of whatever the answer is. */
function messageIn(text: string): string {
  try {
    return textIn(JSON.parse(text), 'message') || text.slice(0, 200)
  } catch {
    return text.slice(0, 200)
  }
}
