"""What OpenCV, PIL, PyTorch and scikit-image make of some pictures, each stretched to a square. Run in the repository with those installed."""
import numpy as np, cv2, torch, torch.nn.functional as F, skimage.transform as T
from PIL import Image
from safetensors.numpy import save_file
rng=np.random.default_rng(3); out={}
for name,(h,w),s in [('small',(23,31),40),('large',(150,97),40),('mixed',(30,77),48),('ties',(36,64),40)]:
    a=(rng.random((h,w,3))*60+np.linspace(0,190,w)[None,:,None]).astype('uint8'); out[name+'/image']=a
    out[name+'/pil_nearest']=np.asarray(Image.fromarray(a).resize((s,s),Image.NEAREST)).astype('f4')
    out[name+'/nearest']=cv2.resize(a,(s,s),interpolation=cv2.INTER_NEAREST).astype('f4')
    t=torch.from_numpy(a.astype('f4')/255).permute(2,0,1)[None]
    out[name+'/bilinear']=(F.interpolate(t,(s,s),mode='bilinear')[0].permute(1,2,0).numpy()).copy()
    out[name+'/skimage_cubic']=T.resize(a,(s,s),order=3,preserve_range=True,anti_aliasing=True).astype('uint8').astype('f4')
save_file({k:np.ascontiguousarray(v) for k,v in out.items()},'pictures/testdata/stretch.safetensors')
