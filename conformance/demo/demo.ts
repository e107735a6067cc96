import { readFileSync } from 'node:fs'
import type { Result } from '../harness/answer.js'
import { Chain, type Conflist } from '../harness/chain.js'
import type { Container } from '../harness/container.js'
import { Host } from '../harness/host.js'
import { suites } from '../harness/locations.js'

const conflist: Conflist = {
  cniVersion: '1.1.0',
  name: 'demo',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isDefaultGateway: true,
      ipMasq: true,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.22.0.0/24' }], [{ subnet: 'fd22::/64' }]] },
    },
  ],
}

const began = performance.now()

function heading(text: string): void {
  console.log(`\n${bold(text)}`)
}

function bold(text: string): string {
  return process.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : `== ${text}`
}

/** Runs one step and shows what came of it with the time it took. */
async function step<T>(what: string, body: () => Promise<T>, shown: (value: T) => string = () => ''): Promise<T> {
  const start = performance.now()
  const value = await body()
  const time = `${(performance.now() - start).toFixed(0)} ms`
  console.log(`  ${what.padEnd(58)} ${time.padStart(7)}  ${shown(value)}`)
  return value
}

/** One ping must be answered. */
async function ping(from: Container, address: string): Promise<string> {
  const output = await from.output(['ping', '-n', '-c', '1', '-W', '3', address])
  return /time=([\d.]+ ms)/.exec(output)?.[1] ?? 'answered'
}

function addresses({ ips }: Result): string {
  return (ips ?? []).map(({ address }: { address: string }) => address).join(', ')
}

async function demonstrate(host: Host): Promise<void> {
  heading('A throw-away host with two containers and an outside world')
  const [one, two] = [await host.container('one'), await host.container('two')]
  const { container: outside } = await host.outside()
  console.log(`  plugins: ${suites.podwire}`)
  console.log(`  network: ${JSON.stringify(conflist.plugins[0])}`)

  heading('ADD: the containers join the network')
  const chains = [one, two].map(
    (container) => new Chain(host, conflist, { containerID: container.name, netns: container.netns }),
  )
  for (const [index, chain] of chains.entries()) {
    await step(`container ${index + 1}`, () => chain.add(), addresses)
  }
  console.log(
    `\n  the result of container 1, as a runtime gets it:\n${indented(JSON.stringify(chains[0]?.result, null, 2))}`,
  )

  heading('Packets')
  await step('container 1 pings its gateway, IPv4', () => ping(one, '10.22.0.1'), String)
  await step('container 1 pings its gateway, IPv6', () => ping(one, 'fd22::1'), String)
  await step('container 1 pings container 2, IPv4', () => ping(one, '10.22.0.3'), String)
  await step('container 1 pings container 2, IPv6', () => ping(one, 'fd22::3'), String)
  await step('the outside, which has no route back (masquerade), IPv4', () => ping(one, '192.0.2.2'), String)
  await step('the outside, which has no route back (masquerade), IPv6', () => ping(one, '2001:db8:f::2'), String)
  const routes = await outside.output(['ip', 'route', 'show', '10.22.0.0/24'])
  if (routes !== '') throw new Error(`the outside knows the containers: ${routes}`)

  heading('CHECK, then DEL: the containers leave')
  for (const [index, chain] of chains.entries()) {
    await step(
      `CHECK of container ${index + 1}`,
      () => chain.check(),
      () => 'as ADD left it',
    )
    await step(`DEL of container ${index + 1}`, () => chain.del())
  }

  heading('What is left')
  await step('interfaces in the containers but lo', () => left(one, two), nothing)
  await step('ports of the bridge', () => host.output(['ip', '-br', 'link', 'show', 'master', 'cni0']), nothing)
  await step(
    'leases',
    () => host.output(['find', '/var/lib/cni/networks/demo', '-name', '*.*.*.*', '-o', '-name', '*:*']),
    nothing,
  )
  await step('masqueraded addresses', () => masqueraded(host), nothing)
}

async function left(...containers: Container[]): Promise<string> {
  const shown = await Promise.all(containers.map((one) => one.output(['ip', '-br', 'link'])))
  return shown
    .flatMap((text) =>
      text
        .trim()
        .split('\n')
        .filter((line) => !line.startsWith('lo')),
    )
    .join('\n')
}

async function masqueraded(host: Host): Promise<string> {
  const rules = await host.output(['nft', 'list', 'ruleset'])
  return rules
    .split('\n')
    .filter((line) => line.includes('elements'))
    .join('\n')
}

/** Shows that something is empty. @throws when it is not */
function nothing(text: string): string {
  if (text.trim() !== '') throw new Error(`left behind: ${text}`)
  return 'none'
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, '    ')
}

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
console.log(`podwire ${version}`)
const host = await Host.create()
try {
  await demonstrate(host)
  console.log(
    `\nAll of it worked, in ${((performance.now() - began) / 1000).toFixed(1)} s; the throw-away host is gone.`,
  )
} finally {
  await host.dispose()
}
