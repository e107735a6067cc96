import { existsSync, readdirSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { call as device } from '../devices/calls.js'
import { errorOf, resultOf, succeedSilently } from '../harness/answer.js'
import { test } from '../harness/fixture.js'
import type { Host } from '../harness/host.js'
import { Killer } from '../harness/killer.js'
import { type Call, runPlugin, runTraced, startPlugin } from '../harness/plugin.js'
import { until } from '../harness/process.js'
import { installScripts, scriptDirectory } from '../harness/scripts.js'
import { compareLines, difference } from '../harness/snapshot.js'
import { call as port, tcp } from '../portmap/setting.js'
import { call as ptp } from '../ptp/network.js'
import { type Case, cases, look } from '../unclear/cases.js'
import { slowable } from './slow.js'

// Runtimes kill the plugin alone. A tool that it has started goes on: whoever is called next for the attachment waits
// for it, and then leaves nothing.

const byTools = { PODWIRE_NO_NETLINK: '1' }
/** Seconds that a tool takes more, before its work and after it. */
const pause = 0.06

/** Leaves a host as quiet as it was before: no tool, no lock. */
async function nothingAtWork(host: Host): Promise<string[]> {
  await host.quiet()
  return readdirSync(host.path('/run/podwire')).filter((name) => name.startsWith('tools-'))
}

/** A plugin's pipes stay open as long as its tools: its own end is another moment. */
function exitOf(child: ReturnType<typeof startPlugin>['child']): Promise<{ signal: NodeJS.Signals | null }> {
  return new Promise((resolve) => {
    child.once('exit', (_, signal) => resolve({ signal }))
  })
}

describe('a plugin killed alone at every tenth of a call by slow tools leaves nothing behind the next DEL:', () => {
  for (const [index, [name, { prepare }]] of Object.entries(cases).entries()) {
    test.concurrent(name, { timeout: 240_000 }, async ({ host }) => {
      const add = { ...(await prepare(host)), env: byTools }
      const del: Call = { ...add, command: 'DEL' }
      const { pause: slow } = await slowable(host)
      const before = await look(host)
      const run = async (call: Call) => runPlugin(host, call)
      const mend = async (moment: string) => {
        slow()
        succeedSilently(await run(del))
        expect(await nothingAtWork(host), moment).toEqual([])
        expect(difference(before, await look(host)), moment).toBe('')
      }
      slow(pause)
      const killers = [
        [add, await Killer.timing(async () => resultOf(await run(add)))],
        [del, await Killer.timing(async () => succeedSilently(await run(del)))],
      ] as const
      for (const [call, killer] of killers) {
        // Every second tenth, of the next plugin and of the other verb the others: PODWIRE_ALL_KILLS=1 has all.
        const isAll = process.env['PODWIRE_ALL_KILLS'] === '1'
        for (let tenth = 1; tenth <= 10; tenth++) {
          if (!isAll && (tenth + index + (call === del ? 1 : 0)) % 2 === 0) continue
          // A call that was over before its kill has tried nothing: the length of the next one is known better.
          for (let isHit = false, tries = 0; !isHit && tries < 3; tries++) {
            slow()
            if (call === del) resultOf(await run(add))
            slow(pause)
            isHit = (await killer.killAt(tenth / 10, host, call)).isHit
            await mend(`${call.command} killed at tenth ${tenth}`)
          }
        }
      }
      for (const [, killer] of killers) killer.expectHits()
    })
  }
})

/** An ADD that was killed while a tool stands before its work. */
async function standing(host: Host, tool: string, { prepare }: Case) {
  const add = { ...(await prepare(host)), env: byTools }
  const before = await look(host)
  const { stop, goOn, stands } = await slowable(host)
  stop(tool)
  const { child, finished } = startPlugin(host, add)
  await until(`${tool} stands`, () => existsSync(stands), 20_000)
  const gone = exitOf(child)
  child.kill('SIGKILL')
  await gone
  return { add, del: { ...add, command: 'DEL' } as Call, before, finished, goOn: () => goOn(tool) }
}

describe('behind an ADD whose plugin was killed alone and whose tool has not begun', () => {
  const portmap = cases['portmap with nftables'] as Case

  test.concurrent('DEL waits, at its bound says who is in the way, and leaves nothing when repeated', async ({
    host,
  }) => {
    const { del, before, goOn, finished } = await standing(host, 'nft', portmap)
    const began = performance.now()
    const { code, msg, details } = errorOf(await runPlugin(host, del))
    expect(code, msg).toBe(11)
    expect(details).toMatch(/\/usr\/local\/sbin\/nft\b.* \(pid \d+\)/)
    expect(performance.now() - began).toBeGreaterThan(25_000)
    const waiting = runPlugin(host, del)
    goOn()
    succeedSilently(await waiting)
    await finished
    expect(await nothingAtWork(host)).toEqual([])
    expect(difference(before, await look(host))).toBe('')
  })

  test.concurrent('an ADD waits', async ({ host }) => {
    const { add, del, before, goOn, finished } = await standing(host, 'nft', portmap)
    const waiting = runPlugin(host, add)
    goOn()
    resultOf(await waiting)
    await finished
    succeedSilently(await runPlugin(host, del))
    expect(await nothingAtWork(host)).toEqual([])
    expect(difference(before, await look(host))).toBe('')
  })

  for (const [name, tool] of [
    ['portmap with nftables', 'nft'],
    ['firewall with iptables', 'iptables-restore'],
    ['bandwidth', 'tc'],
  ] as const) {
    test.concurrent(`a GC waits: ${name}`, async ({ host }) => {
      const { del, before, goOn, finished } = await standing(host, tool, cases[name] as Case)
      const config = { ...(del.config as object), 'cni.dev/valid-attachments': [], 'cni.dev/attachments': [] }
      const none = { CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '' }
      const waiting = runPlugin(host, { ...del, command: 'GC', config, env: { ...byTools, ...none } })
      goOn()
      succeedSilently(await waiting)
      await finished
      expect(await nothingAtWork(host)).toEqual([])
      // It removes chains, too, that others left unused.
      expect(compareLines(before, await look(host)).others).toEqual([])
    })
  }

  test.concurrent('neither another attachment nor a GC for which this one is valid waits', async ({ host }) => {
    const { add, goOn, finished } = await standing(host, 'nft', portmap)
    goOn()
    await finished
    const other = port('ADD', await host.container('other'), [tcp(9090)], { portmap: { backend: 'nftables' } })
    resultOf(await runPlugin(host, { ...other, env: byTools }))
    const valid = [{ containerID: add.containerID, ifname: 'eth0' }]
    const config = { ...(add.config as object), 'cni.dev/valid-attachments': valid, 'cni.dev/attachments': valid }
    const none = { CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '' }
    succeedSilently(await runPlugin(host, { ...add, command: 'GC', config, env: { ...byTools, ...none } }))
  })
})

describe('the lock', () => {
  test.concurrent('is not taken where the kernel is asked itself, and goes with the call where tools are', async ({
    host,
  }) => {
    const container = await host.container()
    const opened = /open(at)?\(.*\/tools-.*O_CREAT/
    const add = ptp('ADD', container)
    const options = ['-e', 'trace=open,openat']
    resultOf(await runPlugin(host, add))
    succeedSilently(await runPlugin(host, { ...add, command: 'DEL' }))
    for (const [env, isTaken] of [
      [{}, false],
      [byTools, true],
    ] as const) {
      for (const command of ['ADD', 'DEL'] as const) {
        const { status, calls } = await runTraced(host, { ...add, command, env }, options)
        expect(status).toBe(0)
        expect(opened.test(calls), `${command} ${JSON.stringify(env)}`).toBe(isTaken)
        expect(await nothingAtWork(host)).toEqual([])
      }
    }
  })

  test.concurrent('does not go to an IPAM plugin of others, which may wait for a server', async ({ host }) => {
    const answer = JSON.stringify({ cniVersion: '1.1.0', ips: [{ address: '10.80.0.9/24' }] })
    installScripts(host, {
      others: `ls -l /proc/self/fd >/run/seen\n[ $CNI_COMMAND = ADD ] && echo '${answer}' || true`,
    })
    const container = await host.container()
    const more = { path: `${scriptDirectory}:/nowhere`, env: byTools }
    const call = device('tap', 'ADD', container, { ipam: { type: 'others' } }, more)
    for (const command of ['ADD', 'DEL'] as const) {
      expect((await runPlugin(host, { ...call, command })).status).toBe(0)
      const seen = await host.output(['cat', '/run/seen'])
      expect(seen).toContain(' 0 -> ')
      expect(seen).not.toContain('tools-')
    }
  })
})
