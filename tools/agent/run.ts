import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import path from 'node:path'
import { version } from 'podwire:version'
import { messageOf } from '../../shared/values/errno.js'
import { type CommandCall, Ended, fine, type Status, wrong } from '../frame/command.js'
import { inRoot } from '../frame/place.js'
import { visible } from '../frame/visible.js'
import { install } from '../install/files.js'
import { programs } from '../install/suite.js'
import { ownMeans } from '../node/machine.js'
import { Agent, type Log } from './agent.js'
import { Api } from './api.js'
import { Collector } from './collector.js'
import { connectionOf } from './connection.js'
import { Events } from './events.js'
import { pause } from './follow.js'
import { AgentKernel } from './kernel.js'
import { Metrics } from './metrics.js'
import { AgentNode } from './node.js'
import { meansOf } from './runtime.js'
import { nodeAddress, serve } from './serve.js'
import type { Settings } from './settings.js'

/** Runs until a signal, or does the one thing that an option asks for. */
export async function runAgent(call: CommandCall): Promise<Status> {
  const { options, place } = call
  if (process.geteuid?.() !== 0) throw new Ended(wrong, 'only root may change routes and rules')
  const log = logger(call)
  const to = text(call, 'installTo')
  if (options['remove'] && to !== '') throw new Ended(wrong, '--remove and --install-to are two things: give one')
  if (options['stay'] && !options['remove']) throw new Ended(wrong, '--stay goes with --remove alone')
  if (options['remove']) return remove(call, log)
  const name = text(call, 'node') || process.env['NODE_NAME'] || hostname()
  const serviceAccount = text(call, 'serviceAccount')
  const api = new Api(connection(call, serviceAccount))
  if (to !== '') return installInto(call, new Events({ api, node: name, log: (line) => log.write('warn', line) }), log)
  const node = new AgentNode(kernel(), place, text(call, 'state'))
  let socket: string | undefined
  const root = text(call, 'runtimeRoot')
  const warn = (line: string) => log.write('warn', line)
  const apart = seconds(call, 'gcEvery') * 1000
  const means = meansOf({ socket: () => socket, root, bin: place.bin, conf: inRoot(place, place.conf), warn })
  const agent = new Agent({
    api,
    node,
    name,
    configMap: { namespace: text(call, 'namespace') || namespaceOf(serviceAccount), name: text(call, 'configMap') },
    metrics: (heard) => new Metrics(place, heard),
    every: seconds(call, 'every') * 1000,
    collector: new Collector({ ...means, now: () => performance.now(), apart }),
    collectEvery: apart,
    log: log.write,
    address: listened(call),
    configured: ({ logLevel, gcSocket }) => {
      log.set(logLevel)
      socket = gcSocket
    },
  })
  const started = performance.now()
  const server = await serve(text(call, 'listen'), {
    isHealthy: () => performance.now() - Math.max(started, agent.metrics.lastLook) < patience || !agent.isReady,
    isReady: () => agent.isReady,
    registry: agent.metrics.registry,
  }).catch((thrown) => {
    throw new Ended(wrong, `--listen ${text(call, 'listen')}: ${messageOf(thrown)}`)
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => agent.stop())
  log.write('info', `podwire ${version} on node ${name}, API server ${api.config.getCurrentCluster()?.server}`)
  await agent.run()
  server.closeAllConnections()
  if (agent.isGone) {
    // Who starts it anew tells it the node's address: kubelet does.
    log.write('error', `ends: this node has no longer the address of --listen ${text(call, 'listen')}`)
    process.exit(wrong)
  }
  log.write('info', 'ends: routes, rules and the configuration stay')
  // What still waits for the API server is of no use any more.
  process.exit(fine)
}

// --- internal

/** Milliseconds without a good look after which the agent is better started anew. */
const patience = 300_000

function text({ options }: CommandCall, name: string): string {
  return String(options[name] ?? '')
}

function seconds(call: CommandCall, name: string): number {
  const value = Number(text(call, name))
  const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  if (!(value > 0)) throw new Ended(wrong, `--${flag} ${text(call, name)}: it is no number of seconds`)
  return value
}

function listened(call: CommandCall): string | undefined {
  const listen = text(call, 'listen')
  try {
    return nodeAddress(listen)
  } catch (thrown) {
    throw new Ended(wrong, `--listen ${listen}: ${messageOf(thrown)}`)
  }
}

function kernel(): AgentKernel {
  try {
    return new AgentKernel(ownMeans().netlink)
  } catch (thrown) {
    throw new Ended(wrong, messageOf(thrown))
  }
}

function connection(call: CommandCall, serviceAccount: string) {
  try {
    const [kubeconfig, server] = [
      text(call, 'kubeconfig') || undefined,
      text(call, 'server') || process.env['PODWIRE_API_SERVER'] || undefined,
    ]
    return connectionOf({ kubeconfig, server, serviceAccount, env: process.env })
  } catch (thrown) {
    throw new Ended(wrong, messageOf(thrown))
  }
}

function namespaceOf(serviceAccount: string): string {
  try {
    return readFileSync(path.join(serviceAccount, 'namespace'), 'utf8').trim()
  } catch {
    return 'kube-system'
  }
}

async function remove(call: CommandCall, log: Logger): Promise<Status> {
  const node = new AgentNode(kernel(), call.place, text(call, 'state'))
  const apart = seconds(call, 'every') * 1000
  const { promise: signalled, resolve } = Promise.withResolvers<'signal'>()
  if (call.options['stay'])
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve('signal'))
  // An agent that has yet to end makes all of it again.
  while (true) {
    const failures = node.remove()
    for (const one of failures) log.write('error', one)
    if (failures.length > 0) return wrong
    log.write('info', 'the routes, the rules and the configuration of the agent are gone from this node')
    // A DaemonSet would start it again.
    if (!call.options['stay']) return fine
    if ((await Promise.race([signalled, pause(apart)])) === 'signal') process.exit(fine)
  }
}

/** The init step: an Event says why it failed, because nobody reads the log of a container that ended. */
async function installInto(call: CommandCall, events: Events, log: Logger): Promise<Status> {
  const to = inRoot(call.place, text(call, 'installTo'))
  const from = text(call, 'from') || path.dirname(process.execPath)
  try {
    const { replaced, added, kept } = install({ from, to, names: programs, version })
    const count = replaced.length + added.length
    log.write('info', count === 0 ? `${to} has podwire ${version} already` : `podwire ${version} is in ${to}`)
    if (kept !== undefined && replaced.length > 0) log.write('info', `what was there is in ${kept}`)
    return fine
  } catch (thrown) {
    const what = `podwire ${version} (${process.arch}) cannot be installed in ${to}: ${messageOf(thrown)}`
    log.write('error', what)
    await events.happened({ reason: 'InstallFailed', key: to, text: what })
    return wrong
  }
}

interface Logger {
  readonly write: Log
  readonly set: (level: Settings['logLevel']) => void
}

const levels = ['error', 'warn', 'info', 'debug']

/** A line each on standard error: the time, the level, the text. */
function logger({ options }: CommandCall): Logger {
  const given = typeof options['logLevel'] === 'string' ? options['logLevel'] : undefined
  let most = levels.indexOf(given ?? 'info')
  let last = ''
  return {
    set: (level) => {
      if (given === undefined) most = levels.indexOf(level)
    },
    write: (level, line) => {
      if (levels.indexOf(level) > most || `${level} ${line}` === last) return
      last = `${level} ${line}`
      process.stderr.write(`${new Date().toISOString()} ${level} ${visible(line)}\n`)
    },
  }
}
