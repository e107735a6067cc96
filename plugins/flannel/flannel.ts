import { throwDifferences } from '../../shared/net/interface.js'
import { requireForAdd } from '../../shared/net/needs.js'
import { attemptAll } from '../../shared/plan/host.js'
import { memberOf } from '../../shared/program/invoke.js'
import { definePlugin } from '../../shared/program/plugin.js'
import { isAbsent, messageOf } from '../../shared/values/errno.js'
import { CniError, codes, type Problem } from '../../shared/values/errors.js'
import { pathFault } from '../../shared/values/official.js'
import { emptyResult } from '../../shared/values/result.js'
import {
  type Delegate,
  delegateOf,
  type FlannelCall,
  requireDelegate,
  runDelegate,
  runIfKnown,
  runsInside,
  typesIn,
} from './delegate.js'
import type { FlannelConfiguration } from './flannel.schema.js'
import { findKept, forget, type Kept, keep, keptWritings, staleKept } from './kept.js'
import { parseSubnet, type Subnet } from './subnet.js'

/**
 * Runs another plugin, mostly bridge, with what flannel's daemon says of this node, and keeps what it gave that one:
 * the daemon's file may be another at DEL, or gone.
 */
export default definePlugin<FlannelConfiguration>({
  name: 'flannel',
  official: () => ({
    load: 'failed to load netconf: ',
    library: 'NetConf.',
    structs: { '': 'NetConf' },
    types: { ipam: 'map[string]interface {}', delegate: 'map[string]interface {}' },
    says: ({ path }) =>
      path === 'delegate.type' ? `'delegate' dictionary, if present, must have (string) 'type' field` : undefined,
  }),
  loads: typesIn,

  refuse: (call) => [...delegateProblems(call), ...folderProblems(call)],

  add(call) {
    const delegate = delegateOf(call, readSubnet(call))
    requireDelegate(call, delegate)
    keep(call, delegate)
    return runDelegate(call, 'ADD', delegate) ?? emptyResult
  },

  check(call) {
    const { file, delegate } = findKept(call)
    if (!delegate) {
      return throwDifferences([{ path: file, expected: "the delegate's configuration, which ADD keeps there" }])
    }
    runDelegate(call, 'CHECK', withPrevResult(call, delegate))
  },

  del(call) {
    const kept = findKept(call)
    const delegate = kept.delegate ?? delegateOf(call, subnetIfThere(call))
    // Nothing is kept where no ADD came so far. A delegate of ours looks by names whether that is so.
    if (kept.delegate || runsInside(call, delegate['type'])) {
      runDelegate(call, 'DEL', withPrevResult(call, delegate))
    }
    forget(call, kept)
  },

  status(call) {
    const delegate = delegateOf(call, subnetIfThere(call))
    const problems = delegateProblems(call)
    requireForAdd(call.host, {
      writes: keptWritings(call),
      also: [
        () => void readSubnet(call),
        () => requireDelegate(call, delegate),
        () => {
          if (problems.length > 0) throw new CniError(codes.notAvailable, 'the delegate cannot serve', { problems })
        },
      ],
    })
    runIfKnown(call, 'STATUS', delegate)
  },

  gc(call) {
    const stale = staleKept(call)
    const delegate = delegateOf(call, subnetIfThere(call))
    const { 'cni.dev/valid-attachments': valid, 'cni.dev/attachments': older } = call.config
    const attachments = valid ?? older
    attemptAll(
      ...stale.map((kept) => () => {
        removeStale(call, kept)
        forget(call, kept)
      }),
      () =>
        runIfKnown(call, 'GC', {
          ...delegate,
          ...(attachments ? { 'cni.dev/valid-attachments': attachments, 'cni.dev/attachments': attachments } : {}),
        }),
    )
  },
})

// --- internal

function delegateProblems({ config: { delegate = {} }, members }: FlannelCall): readonly Problem[] {
  const type = memberOf(delegate, 'type')
  const isFlannel = type === 'flannel' || (typeof type === 'string' && members?.get(type)?.name === 'flannel')
  return [
    ...(isFlannel ? [{ path: 'delegate.type', value: type, expected: 'a plugin that is not flannel itself' }] : []),
    ...['name', 'ipam'].flatMap((key) => {
      const value = Object.entries(delegate).find(([one]) => one.toLowerCase() === key)?.[1]
      if (value === undefined) return []
      const official = `'delegate' dictionary must not have '${key}' field, it'll be set by flannel`
      const fix = key === 'name' ? 'leave it out: it is the name of the network' : 'put it beside "delegate"'
      return [{ path: `delegate.${key}`, value, expected: 'nothing', fix, official }]
    }),
  ]
}

/** An empty path would be the root's own folder. */
function folderProblems({ config: { dataDir } }: FlannelCall): readonly Problem[] {
  if (dataDir !== '') return []
  const official = 'mkdir : no such file or directory'
  return [{ path: 'dataDir', value: dataDir, expected: 'the path of a folder', official }]
}

/** @throws code 11 where flanneld has not written its file yet, 5 where that cannot be read or says too little */
function readSubnet({ config: { subnetFile }, host }: FlannelCall): Subnet {
  let text: string
  try {
    text = host.files.read(subnetFile)
  } catch (thrown) {
    const isMissing = isAbsent(thrown)
    const what = isMissing ? 'flanneld has not written' : 'cannot read'
    throw new CniError(isMissing ? codes.tryAgainLater : codes.ioFailure, `${what} ${subnetFile}`, {
      details: messageOf(thrown),
      official: pathFault(thrown, subnetFile),
      fix: 'look whether flanneld runs on this node, and whether subnetFile is where it writes (-subnet-file)',
      cause: thrown,
    })
  }
  const { subnet, problems } = parseSubnet(text, subnetFile)
  if (problems.length === 0) return subnet
  throw new CniError(codes.ioFailure, `${subnetFile} is not as flanneld writes it`, {
    problems,
    fix: 'restart flanneld on this node: it writes the file anew',
  })
}

/** For what goes on without: what is kept and the configuration know what is to be removed. */
function subnetIfThere(call: FlannelCall): Subnet | undefined {
  try {
    return readSubnet(call)
  } catch (thrown) {
    if (thrown instanceof CniError) return undefined
    throw thrown
  }
}

/** With the result, in the version that this call has it in. */
function withPrevResult({ config: { prevResult, cniVersion } }: FlannelCall, delegate: Delegate): Delegate {
  return prevResult === undefined ? delegate : { ...delegate, cniVersion, prevResult }
}

/** Of what the official plugin kept no interface is known: the delegate's own GC looks for that. */
function removeStale(call: FlannelCall, { delegate, attachment }: Kept): void {
  if (!delegate || !attachment) return
  const { containerID, ifName } = attachment
  const { environment, host } = call
  runDelegate(call, 'DEL', delegate, {
    environment: { ...environment, command: 'DEL', containerID, ifName, netns: '' },
    env: { ...host.env, CNI_CONTAINERID: containerID, CNI_IFNAME: ifName, CNI_NETNS: '', CNI_ARGS: '' },
  })
}
