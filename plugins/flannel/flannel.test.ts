import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { keepStateIn, stateRoot } from '../../shared/exec/state.js'
import { link, type Row, type Shown, show } from '../../shared/testing/golden.js'
import { openStage } from '../../shared/testing/live.js'
import { attachmentHash } from '../../shared/values/names.js'
import { parseSubnet } from './subnet.js'

const subnetFile = '/run/flannel/subnet.env'
const four = { FLANNEL_NETWORK: '10.244.0.0/16', FLANNEL_SUBNET: '10.244.3.1/24' }
const six = { FLANNEL_IPV6_NETWORK: 'fd44::/56', FLANNEL_IPV6_SUBNET: 'fd44:0:0:3::1/64' }
const rest = { FLANNEL_MTU: '1450', FLANNEL_IPMASQ: 'true' }
const textOf = (lines: object) =>
  `${Object.entries(lines)
    .map(([name, value]) => `${name}=${value}`)
    .join('\n')}\n`
const whole = textOf({ ...four, ...six, ...rest })

describe("flanneld's file", () => {
  test('says networks, subnets, MTU and who masquerades; other lines are left alone', () => {
    expect(parseSubnet(`# a comment\nFLANNEL_NEW=1\n${whole}`, subnetFile)).toEqual({
      subnet: {
        networks: ['10.244.0.0/16', 'fd44::/56'],
        subnets: ['10.244.3.0/24', 'fd44:0:0:3::/64'],
        mtu: 1450,
        masquerades: true,
      },
      problems: [],
    })
  })

  test.each([
    ['IPv6 alone', textOf({ ...six, ...rest }), ['fd44::/56'], ['fd44:0:0:3::/64']],
    [
      'several networks',
      whole.replace('0.0/16', '0.0/16,10.245.0.0/16'),
      ['10.244.0.0/16', '10.245.0.0/16', 'fd44::/56'],
      undefined,
    ],
    ['the last of a name', `FLANNEL_NETWORK=10.9.0.0/16\n${whole}`, ['10.244.0.0/16', 'fd44::/56'], undefined],
    ['lines of another system', whole.replaceAll('\n', '\r\n'), ['10.244.0.0/16', 'fd44::/56'], undefined],
  ])('takes %s', (_, text, networks, subnets) => {
    const { subnet, problems } = parseSubnet(text, subnetFile)
    expect([problems, subnet.networks]).toEqual([[], networks])
    expect(subnet.subnets).toEqual(subnets ?? ['10.244.3.0/24', 'fd44:0:0:3::/64'])
  })

  test.each([
    [
      'nothing',
      '',
      [
        `${subnetFile} is missing FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ`,
      ],
    ],
    ['a part', textOf({ ...four, FLANNEL_MTU: 1 }), [`${subnetFile} is missing FLANNEL_IPMASQ`]],
    [
      'a name without a value',
      whole.replace('FLANNEL_MTU=1450', 'FLANNEL_MTU'),
      [`${subnetFile} is missing FLANNEL_MTU`],
    ],
    ['no subnet', whole.replace('10.244.3.1/24', '10.244.3.1'), ['invalid CIDR address: 10.244.3.1']],
    ['no MTU', whole.replace('1450', '1e3'), ['strconv.ParseUint: parsing "1e3": invalid syntax']],
    ['a negative MTU', whole.replace('1450', '-1'), ['strconv.ParseUint: parsing "-1": invalid syntax']],
    ['a huge MTU', whole.replace('1450', '2147483648'), ['strconv.ParseUint: parsing "2147483648": invalid syntax']],
    [
      'both wrong',
      whole.replace('1450', 'x').replace('fd44::/56', 'y'),
      ['invalid CIDR address: y', 'strconv.ParseUint: parsing "x": invalid syntax'],
    ],
  ])('that holds %s is told of', (_, text, official) => {
    expect(parseSubnet(text, subnetFile).problems.map((problem) => problem.official)).toEqual(official)
  })
})

let [folder, dataDir] = ['', '']
const usualState = stateRoot

/** A CNI_PATH where the plugins are this very program. */
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'podwire-flannel-'))
  dataDir = path.join(folder, 'kept')
  keepStateIn(path.join(folder, 'state'))
  for (const name of ['bridge', 'ptp', 'host-local', 'flannel']) symlinkSync(process.execPath, path.join(folder, name))
})
afterEach(() => {
  keepStateIn(usualState)
  rmSync(folder, { recursive: true })
})

const bridgeLink = link('cni0', { address: '02:aa:00:00:00:01', linkinfo: { info_kind: 'bridge' } })
const answers = {
  'ip -j -d addr show dev cni0': bridgeLink,
  'nft *': { status: 1, stderr: 'Error: No such file or directory' },
}
const ipam = () => ({ dataDir: path.join(folder, 'leases') })
const row = (verb: Row['verb'], config: object = {}, more: Partial<Row> = {}): Row => ({
  plugin: 'flannel',
  verb,
  config: { dataDir, ipam: ipam(), ...config },
  links: ['cni0'],
  answers,
  ...more,
  env: { CNI_PATH: folder, ...more.env },
  files: {
    '/proc/sys/net/ipv4/ip_forward': '1',
    '/proc/sys/net/ipv6/conf/all/forwarding': '1',
    [subnetFile]: whole,
    ...more.files,
  },
})
const flannel = (...of: Parameters<typeof row>): Promise<Shown> => show(row(...of))
/** The same call of the delegate. */
const direct = (config: object) => show({ ...row('ADD'), plugin: String((config as { type?: string }).type), config })
const addressing = () => ({
  ...ipam(),
  type: 'host-local',
  ranges: [[{ subnet: '10.244.3.0/24' }], [{ subnet: 'fd44:0:0:3::/64' }]],
  routes: [{ dst: '10.244.0.0/16' }, { dst: 'fd44::/56' }],
})

describe('ADD', () => {
  test.each<[string, object, object]>([
    [
      'a bridge with isGateway, the MTU, and no masquerade where flanneld does it',
      {},
      { type: 'bridge', isGateway: true, mtu: 1450, ipMasq: false },
    ],
    [
      'what the delegate sets itself',
      { delegate: { MTU: 1300, ipMasq: true, isGateway: false, isDefaultGateway: true } },
      { type: 'bridge', mtu: 1300, ipMasq: true, isGateway: false, isDefaultGateway: true },
    ],
    [
      "another plugin without what is a bridge's",
      { delegate: { type: 'ptp' } },
      { type: 'ptp', mtu: 1450, ipMasq: false },
    ],
  ])('gives the delegate %s', async (_, config, expected) => {
    const shown = await flannel('ADD', config)
    const alone = await direct({ ...expected, ipam: addressing() })
    expect([shown.status, alone.status], JSON.stringify([shown.json, alone.json])).toEqual([0, 0])
    expect(shown.plan).toBe(`# keep the delegate's configuration in ${dataDir}/c1\n${alone.plan}`)
    expect(shown.json).toEqual(alone.json)
  })

  test('masquerades where flanneld does not', async () => {
    const files = { [subnetFile]: whole.replace('true', 'false') }
    expect((await flannel('ADD', {}, { files })).plan).toContain('masquerade')
    expect((await flannel('ADD')).plan).not.toContain('masquerade')
  })

  test('keeps the routes that ipam has, before the networks, and gives runtimeConfig on', async () => {
    const routes = [{ dst: '192.0.2.0/24', gw: '10.244.3.9' }]
    const { json, plan } = await flannel('ADD', {
      ipam: { ...ipam(), routes },
      capabilities: { mac: true },
      runtimeConfig: { mac: '02:00:00:00:00:0b' },
    })
    expect(json.routes.map(({ dst }: { dst: string }) => dst)).toEqual(['192.0.2.0/24', '10.244.0.0/16', 'fd44::/56'])
    expect(plan).toContain('address 02:00:00:00:00:0b')
  })

  test.each<[string, object, object, number, string]>([
    [
      'before flanneld wrote its file',
      {},
      { files: { '/run/flannel/subnet.env': undefined } },
      11,
      `flanneld has not written ${subnetFile}`,
    ],
    [
      'of a file that says too little',
      {},
      { files: { [subnetFile]: textOf(four) } },
      5,
      `${subnetFile} is missing FLANNEL_MTU, FLANNEL_IPMASQ`,
    ],
    ['of flannel itself', { delegate: { type: 'flannel' } }, {}, 7, 'the configuration is not valid'],
    ['of a delegate that is nowhere', { delegate: { type: 'none' } }, {}, 107, 'failed to find plugin "none"'],
    ['of a delegate that is no file name', { delegate: { type: 'a/b' } }, {}, 7, 'invalid plugin name: a/b'],
    [
      'of a delegate whose type is no text',
      { delegate: { type: 5 } },
      {},
      7,
      "'delegate' dictionary, if present, must have (string) 'type' field",
    ],
    [
      'of a delegate with a name',
      { delegate: { name: 'x' } },
      {},
      7,
      "'delegate' dictionary must not have 'name' field, it'll be set by flannel",
    ],
    [
      'of a delegate with ipam',
      { delegate: { ipam: {} } },
      {},
      7,
      "'delegate' dictionary must not have 'ipam' field, it'll be set by flannel",
    ],
    ['without a folder for what is kept', { dataDir: '' }, {}, 7, 'mkdir : no such file or directory'],
    [
      'of a delegate that is no object',
      { delegate: 'bridge' },
      {},
      7,
      'json: cannot unmarshal string into Go struct field NetConf.delegate of type map[string]interface {}',
    ],
  ])('is refused %s, and nothing is planned', async (_, config, more, code, says) => {
    const { status, json, plan } = await flannel('ADD', config, more)
    expect([status, plan]).toEqual([1, ''])
    expect(json).toMatchObject({ code, msg: expect.stringContaining(says) })
  })
})

/** What is kept, by file. */
const kept = () => (existsSync(dataDir) ? readdirSync(dataDir).filter((name) => !name.startsWith('.')) : [])
const keptText = (name: string) => JSON.parse(readFileSync(path.join(dataDir, name), 'utf8'))
const isGone = { files: { [subnetFile]: undefined as unknown as string } }

describe('what is kept', () => {
  const stage = () => {
    const opened = openStage()
    const perform = async (...of: Parameters<typeof row>) => {
      const { status, json, changes, said } = await opened.perform(row(...of))
      expect(status, JSON.stringify(json)).toBe(0)
      return { changes, said }
    }
    return { opened, perform }
  }

  test("is the delegate's configuration, whose container's it is, and gone after DEL, also without flanneld's file", async () => {
    const { opened, perform } = stage()
    try {
      await perform('ADD', { delegate: { bridge: 'cni0' } })
      expect(kept()).toEqual(['c1'])
      expect(keptText('c1')).toEqual({
        ...{
          cniVersion: '1.1.0',
          name: 'net',
          type: 'bridge',
          bridge: 'cni0',
          isGateway: true,
          ipMasq: false,
          mtu: 1450,
        },
        ipam: addressing(),
        'podwire.attachment': { network: 'net', containerID: 'c1', ifName: 'eth0' },
      })
      expect(readdirSync(path.join(folder, 'leases/net'))).toContain('10.244.3.2')
      await perform('DEL', { delegate: { type: 'ptp' } }, isGone)
      expect([kept(), readdirSync(path.join(folder, 'leases/net'))]).toEqual([
        [],
        expect.not.arrayContaining(['10.244.3.2']),
      ])
      await perform('DEL', {}, isGone)
    } finally {
      opened.close()
    }
  })

  test('of two interfaces is two files', async () => {
    const { opened, perform } = stage()
    const second = { env: { CNI_IFNAME: 'net1' } }
    try {
      await perform('ADD')
      await perform('ADD', {}, second)
      const other = `c1.${attachmentHash({ network: 'net', containerID: 'c1', ifName: 'net1' })}`
      expect(kept()).toEqual(['c1', other])
      await perform('DEL')
      expect(kept()).toEqual([other])
      await perform('DEL', {}, second)
      expect(kept()).toEqual([])
      expect(readdirSync(path.join(folder, 'leases/net')).filter((name) => name.includes('244'))).toEqual([])
    } finally {
      opened.close()
    }
  })

  test.each<[string, string]>([
    ['no JSON', '{"type":'],
    ['no object', '[]'],
    ['no configuration', '{"type": 5}'],
    ['flannel again', '{"type": "flannel", "name": "net"}'],
  ])('and says %s does not stop DEL: the configuration knows', async (_, text) => {
    const { opened, perform } = stage()
    try {
      await perform('ADD')
      writeFileSync(path.join(dataDir, 'c1'), text)
      const { said } = await perform('DEL', {}, isGone)
      expect(said).toContain(`flannel: ${dataDir}/c1 is no`)
      expect([kept(), readdirSync(path.join(folder, 'leases/net'))]).toEqual([
        [],
        expect.not.arrayContaining(['10.244.3.2']),
      ])
    } finally {
      opened.close()
    }
  })

  test('by the official plugin is for any interface, and a link in its place is not followed', async () => {
    const { opened, perform } = stage()
    mkdirSync(dataDir)
    const official = { cniVersion: '1.1.0', name: 'net', type: 'bridge', ipam: addressing() }
    writeFileSync(path.join(dataDir, 'c1'), JSON.stringify(official))
    const secret = path.join(folder, 'secret')
    writeFileSync(secret, 'untouched')
    symlinkSync(secret, path.join(dataDir, 'c2'))
    try {
      await perform('DEL', {}, { env: { CNI_IFNAME: 'net7' } })
      expect(kept()).toEqual(['c2'])
      await perform('DEL', {}, { env: { CNI_CONTAINERID: 'c2' } })
      expect([kept(), readFileSync(secret, 'utf8')]).toEqual([[], 'untouched'])
    } finally {
      opened.close()
    }
  })

  test('is not left by an ADD whose delegate is refused, and what was there before is', async () => {
    const { opened, perform } = stage()
    try {
      const refused = await opened.perform(row('ADD'), 1)
      expect([refused.status, kept()]).toEqual([1, []])
      await perform('ADD')
      const before = keptText('c1')
      await opened.perform(row('ADD', { delegate: { mtu: 1 } }), 1)
      expect(keptText('c1')).toEqual(before)
    } finally {
      opened.close()
    }
  })

  test('goes with GC unless it is valid, or of another network', async () => {
    const { opened, perform } = stage()
    const gc = (...ids: string[]) => ({
      'cni.dev/valid-attachments': ids.map((containerID) => ({ containerID, ifname: 'eth0' })),
    })
    try {
      for (const id of ['c1', 'c2']) await perform('ADD', {}, { env: { CNI_CONTAINERID: id } })
      await perform('ADD', { name: 'other' }, { env: { CNI_CONTAINERID: 'c3' } })
      await perform('GC')
      expect(kept()).toEqual(['c1', 'c2', 'c3'])
      await perform('GC', gc('c2'), isGone)
      expect(kept()).toEqual(['c2', 'c3'])
      const leases = readdirSync(path.join(folder, 'leases/net')).filter((name) => name.includes('244'))
      expect(leases).toEqual(['10.244.3.3'])
    } finally {
      opened.close()
    }
  })
})

describe('CHECK and STATUS', () => {
  test('CHECK says that nothing is kept', async () => {
    const { json } = await flannel('CHECK')
    expect(json).toMatchObject({ code: 105, msg: expect.stringContaining(`${dataDir}/c1 is not as ADD left it`) })
  })

  test.each<[string, object, object, string]>([
    ['flanneld has written nothing', {}, isGone, `flanneld has not written ${subnetFile}`],
    ['its file is garbled', {}, { files: { [subnetFile]: 'x' } }, `${subnetFile} is not as flanneld writes it`],
    ['the delegate is not there', { delegate: { type: 'none' } }, {}, 'failed to find plugin "none"'],
    ['the delegate is flannel', { delegate: { type: 'flannel' } }, {}, 'the delegate cannot serve'],
  ])('STATUS is 50 where %s', async (_, config, more, says) => {
    const { json } = await flannel('STATUS', config, more)
    expect(json).toMatchObject({ code: 50, msg: expect.stringContaining(says) })
  })
})
