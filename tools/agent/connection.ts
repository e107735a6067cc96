import { existsSync, readFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import path from 'node:path'
import { KubeConfig, type RequestContext } from './libraries.js'

// How the API server is reached.

export interface Connection {
  /** A file such as kubectl reads; absent: what every pod is given. */
  readonly kubeconfig?: string | undefined
  /** The server's URL, "HOST:PORT" or "HOST"; absent: the environment's, which is a ClusterIP. */
  readonly server?: string | undefined
  /** The folder with what every pod is given. */
  readonly serviceAccount: string
  readonly env: Readonly<Record<string, string | undefined>>
}

/** @throws Error where nobody says which server */
export function connectionOf({ kubeconfig, server, serviceAccount, env }: Connection): KubeConfig {
  const config = new KeptConfig()
  if (kubeconfig !== undefined) {
    config.loadFromFile(kubeconfig)
    const current = config.getCurrentCluster()?.name
    if (current === undefined) throw new Error(`${kubeconfig} says no cluster: its current-context leads to none`)
    if (server !== undefined) {
      config.clusters = config.clusters.map((one) =>
        one.name === current ? { ...one, server: serverUrl(server) } : one,
      )
    }
    return config
  }
  const [host, port] = [env['KUBERNETES_SERVICE_HOST'], env['KUBERNETES_SERVICE_PORT']]
  const given = server ?? (host && `${isIPv6(host) ? `[${host}]` : host}:${port || 443}`)
  if (!given) throw new Error('no API server: give --server, --kubeconfig or KUBERNETES_SERVICE_HOST')
  const ca = path.join(serviceAccount, 'ca.crt')
  const cluster = { name: 'cluster', server: serverUrl(given), skipTLSVerify: false }
  config.loadFromClusterAndUser(existsSync(ca) ? { ...cluster, caFile: ca } : cluster, {
    name: 'agent',
    authProvider: { name: 'tokenFile', config: { tokenFile: path.join(serviceAccount, 'token') } },
  })
  return config
}

/**
 * "10.0.0.1:6443" as "https://10.0.0.1:6443"; an IPv6 address may stand without brackets.
 * @throws Error where it is something else
 */
export function serverUrl(text: string): string {
  const full = text.includes('://') ? text : `https://${isIPv6(text) ? `[${text}]` : text}`
  const url = URL.parse(full)
  const isWeb = url?.protocol === 'https:' || url?.protocol === 'http:'
  if (!url || !isWeb) throw new Error(`"${text}" is no API server: expected HOST:PORT or an https URL`)
  return url.origin
}

// --- internal

/**
 * Keeps its connections: the library makes a pool of them for every request, with a handshake of its own. What it reads
 * of files is read at each request: the library has a token for a minute by a clock that may be set back.
 */
class KeptConfig extends KubeConfig {
  #kept: { readonly files: string; readonly dispatcher: ReturnType<RequestContext['getDispatcher']> } | undefined

  override async applySecurityAuthentication(context: RequestContext): Promise<void> {
    await super.applySecurityAuthentication(context)
    const { caFile } = this.getCurrentCluster() ?? {}
    const { certFile, keyFile, authProvider } = this.getCurrentUser() ?? {}
    const tokenFile: unknown = authProvider?.config?.tokenFile
    if (typeof tokenFile === 'string') {
      context.setHeaderParam('Authorization', `Bearer ${readFileSync(tokenFile, 'latin1').trim()}`)
    }
    const files = [caFile, certFile, keyFile].map((file) => (file ? readFileSync(file, 'latin1') : '')).join()
    if (this.#kept?.files !== files) this.#kept = { files, dispatcher: context.getDispatcher() }
    if (this.#kept.dispatcher) context.setDispatcher(this.#kept.dispatcher)
  }
}
